"""How often is `sdperf ab` wrong, and does it find a real slowdown? Independent runs, counted.

`python -m evidence.ab_evidence aa` holds a side against itself, `python -m evidence.ab_evidence
slower` holds it against itself with one more call in eleven of its UNet. Every run goes through
`compare` with real workers on this machine and is kept as soon as it is over, so that the series
can be made in pieces.
"""
