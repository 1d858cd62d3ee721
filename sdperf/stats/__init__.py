"""Statistics of repeated measurements: floats in, frozen results out.

Durations come in as natural logarithms of seconds wherever a function says *log*: differences of
logs are ratios, and a slowdown of 5 % is ``log(1.05)`` for a fast case as for a slow one.
``docs/statistics.md`` derives each formula and names its source.
"""
