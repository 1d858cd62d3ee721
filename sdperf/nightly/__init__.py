"""Results of nightly runs, and one issue about cases that stay worse.

Two jobs use it. One measures and notes its night in a small file. The other runs no code under
test, reads the last nights and may write an issue. The second job has Python alone: all that
`python -m sdperf.nightly issue` loads comes with Python.
"""
