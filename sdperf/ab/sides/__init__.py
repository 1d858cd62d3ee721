"""What is compared: two sides, how each is spelled, made and installed."""
