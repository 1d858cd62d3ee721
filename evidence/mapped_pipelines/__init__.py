"""Tiny pipelines of the classes that diffusers maps to text-to-image, and what comes of each."""
