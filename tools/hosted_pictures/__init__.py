"""Holds the pictures of a hosted Mac's virtual GPU against what mps-check said of them before.

    python -m tools.hosted_pictures out --expect sound     # hosted macos-15
    python -m tools.hosted_pictures out --expect wrong     # hosted macos-26: the gates must see it

It reads ``predicted-PRECISION.json`` of `sdperf mps-check --format json` and
``pictures-PRECISION.json`` of a quality run from the folder. Nothing that was timed is looked at.
"""
