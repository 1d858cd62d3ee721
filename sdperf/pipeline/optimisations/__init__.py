"""Optimisations of any diffusers pipeline, each with a name and its own switch.

`catalogue` lists them as plain values and imports no torch; the other modules apply them to the
worker's pipeline. `docs/optimisations.md` has their measured gains.
"""
