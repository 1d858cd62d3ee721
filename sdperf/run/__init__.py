"""Workload + variant -> measurement and images: the worker, its pool, and one case's life."""
