"""Plugins for this repository's own tests; sdperf itself comes through its entry point."""

pytest_plugins = ["pytester"]
