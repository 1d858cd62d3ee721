"""Turns a workload and a variant into a measurement and images: workers, pool, life of a case."""
