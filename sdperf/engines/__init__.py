"""Other engines for a diffusers pipeline: they run its networks, all else stays diffusers'.

`catalogue` lists the engines as plain values and imports no torch; `protocol` says what an engine
does; `parts` cuts a pipeline into the networks that an engine takes over, and `standins` puts
modules in their place that run them. `docs/engines.md` has the measurements.
"""
