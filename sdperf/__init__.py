"""sdperf: tells whether a change made Stable Diffusion slower, hungrier or uglier.

Importing this package loads neither torch nor diffusers; see ``sdperf.plugin`` for what a test
run uses and ``sdperf.cli`` for the command.
"""

__version__ = "0.2.0"
