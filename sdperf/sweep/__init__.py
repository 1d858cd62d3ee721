"""What each release or commit of a range did to speed, memory and pictures."""
