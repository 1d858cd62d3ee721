"""What a picture costs a processor: seconds of each network by engine, and page faults."""
