"""What watching costs: sampler on against off, and profiled against plain, in turns.

    python -m evidence.watching_cost --blocks 20 --json cost.json

A window is a few rounds back to back after one that leads in, as the suite watches them. Each
block is ABBA or BAAB of windows, so that drift cancels; the figure is the median of the blocks'
ratios with an exact interval of order statistics. Blocks of one process: it holds for this worker
on this machine on this day.
"""
