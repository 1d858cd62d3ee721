"""What nightly runs came to, and one issue about cases that stay worse.

Two jobs use it: the one that measures notes its night in a small file, and another one, which runs
no code under test, reads the last nights and may write an issue. The second has Python alone: what
`python -m sdperf.nightly issue` loads comes with Python.
"""
