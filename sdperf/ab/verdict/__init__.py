"""What a paired comparison found, judged and put into words. Pure."""
