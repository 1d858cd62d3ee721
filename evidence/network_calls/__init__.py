"""Time single calls of Stable Diffusion 1.5's networks on a CUDA device, eager and recorded.

    python -m evidence.network_calls --json calls.json

Says what layout, attention kernel, projections and compilation are worth once the host no longer
holds the device up. Random weights of the published shapes, fp16, guided batches.
"""
