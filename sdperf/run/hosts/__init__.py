"""Where a worker lives: a local process, another interpreter, a cluster."""
