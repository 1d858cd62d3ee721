"""Other engines for a diffusers pipeline: its networks run elsewhere, all else stays diffusers'.

`catalogue` lists the engines as plain values and imports no torch; `protocol` says what an engine
does; `parts` cuts a pipeline into the networks that an engine takes over, and `standins` puts what
runs them back in their place. `docs/engines.md` has what was measured.
"""
