"""Measuring: the clock, stage windows, resources, guards and the environment of a run."""
