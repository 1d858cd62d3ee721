"""Named, separately switchable optimisations on top of any diffusers pipeline.

`catalogue` lists them as plain values and imports no torch; the other modules apply them, in the
worker, to a pipeline of its own. `docs/optimisations.md` has their measured gains.
"""
