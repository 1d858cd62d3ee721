"""The study itself: storage, sampling, trials and the front of the best."""
