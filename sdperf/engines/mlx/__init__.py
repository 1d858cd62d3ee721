"""The MLX engine: Stable Diffusion 1.x, 2.x and XL in MLX, for Apple GPUs.

The networks are written out here, with diffusers' own names, and filled from a model's safetensors
files. MLX also computes on a CPU, where the tests compare these networks with torch.
"""

from __future__ import annotations

from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.protocol import Engine


def make_engine(choice: EngineChoice) -> Engine:
    """Make the engine of a choice.

    Raises:
        ImportError: mlx is missing or damaged.
    """
    from sdperf.engines.mlx.engine import MlxEngine

    return MlxEngine(choice)
