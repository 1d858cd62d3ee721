"""Caches between denoising steps: diffusers' own for transformers, and one for UNets."""
