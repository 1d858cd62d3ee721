"""A checkpoint that ComfyUI loads, from the folder of `evidence.external.tiny_sd`.

``sd-cli -M convert --convert-name -m FOLDER -o CONVERTED.safetensors --type f16`` gives the weights
the names of the first Stable Diffusion, but numbers its blocks as for two layers each, which
ComfyUI counts, and keeps the attention of the VAE as matrices, where it expects convolutions.
``python -m evidence.external.tiny_comfyui CONVERTED.safetensors CHECKPOINT``.
"""

import re
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

_BLOCK = re.compile(r"model\.diffusion_model\.(input|output)_blocks\.(\d+)\.(\d+)\.(.+)")
_INPUT = {1: 1, 3: 2, 4: 3, 6: 4, 7: 5}
_OUTPUT = {0: 0, 1: 1, 3: 2, 4: 3, 6: 4, 7: 5}
_ENLARGING = {2: 1, 5: 3}
"""What enlarges is a block of its own there, and the last part of the one before it here."""


def rename(name: str) -> str:
    """Return ComfyUI's name of a weight."""
    found = _BLOCK.fullmatch(name)
    if found is None:
        return name
    way, number, part, rest = found[1], int(found[2]), found[3], found[4]
    if way == "input":
        number = _INPUT.get(number, number)
    elif number in _ENLARGING:
        number, part = _ENLARGING[number], "2"
    else:
        number = _OUTPUT[number]
    return f"model.diffusion_model.{way}_blocks.{number}.{part}.{rest}"


if __name__ == "__main__":
    weights = {rename(name): one for name, one in load_file(Path(sys.argv[1])).items()}
    for name, one in weights.items():
        if ".mid.attn_1." in name and one.ndim == 2:
            weights[name] = one[:, :, None, None].contiguous()
    save_file(weights, Path(sys.argv[2]))
