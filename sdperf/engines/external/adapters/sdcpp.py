"""stable-diffusion.cpp by stable-diffusion-cpp-python, which is built where it is installed.

    sdperf external check '/envs/sdcpp/bin/python {adapters}/sdcpp.py --model x.gguf'

Without ``--model`` it loads the folder that sdperf was told: a diffusers folder in safetensors.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from serving import AdapterPicture, serve

_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


class StableDiffusionCpp:
    """One loaded model.

    Args:
        options: The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._model: Any = None

    def describe(self) -> Mapping[str, Any]:
        """Describe it; which backends were built in is the package's affair."""
        options = self._options
        own = options.type or "the file's own types"
        accepts = ["steps", "guidance", "negative_prompt", "size", "picture", "mask", "strength"]
        accepts += [] if options.model else ["model"]
        return {
            "name": "stable-diffusion.cpp",
            "version": version("stable-diffusion-cpp-python"),
            "model": Path(options.model).name if options.model else "the folder of sdperf's model",
            "device": options.device,
            "precision": own,
            "precisions": [] if options.model or options.type else list(_TYPES),
            "accepts": accepts + ([] if options.model or options.type else ["precision"]),
            "largest_seed": 2**63 - 1,
            "versions": {"stable-diffusion-cpp-python": version("stable-diffusion-cpp-python")},
        }

    def load(self, asked: Mapping[str, Any]) -> int | None:
        """Load the weights; return the bytes of their files."""
        from stable_diffusion_cpp import StableDiffusion

        options = self._options
        path = Path(options.model or asked["folder"])
        own_type = "default" if options.model else _TYPES[asked["precision"]]
        self._model = StableDiffusion(
            model_path=str(path),
            n_threads=options.threads,
            wtype=options.type or own_type,
            vae_decode_only=False,  # a picture to start from is encoded
            verbose=False,
        )
        files = [path] if path.is_file() else list(path.glob("*/*.safetensors"))
        return sum(file.stat().st_size for file in files)

    def draw(self, asked: Mapping[str, Any]) -> AdapterPicture:
        """Draw one picture; the steps are those that the program reports."""
        marks: list[float] = []
        began_s = time.monotonic()
        named: dict[str, Any] = {}
        planned = asked["steps"]
        if asked["guidance"] is not None:
            named["cfg_scale"] = float(asked["guidance"])
        if asked["picture"] is not None:
            named["init_image"] = _decode(asked["picture"])
            named["mask_image"] = None if asked["mask"] is None else _decode(asked["mask"])
            if asked["strength"] is not None:
                named["strength"] = float(asked["strength"])
                # its own rule: one step more than the strength leaves
                planned = min(planned, int(planned * asked["strength"]) + 1)
        (picture,) = self._model.generate_image(
            prompt=asked["prompt"],
            negative_prompt=asked["negative_prompt"],
            width=asked["width"] or 512,
            height=asked["height"] or 512,
            seed=asked["seed"],
            sample_steps=asked["steps"],
            sample_method=self._options.method,
            progress_callback=lambda step, steps, _: _note(marks, step, steps, planned),
            **named,
        )
        ended_s = time.monotonic()
        step_seconds = [after - before for before, after in itertools.pairwise(marks)]
        stages = {}
        if step_seconds:
            stages = {
                "encode_prompt": marks[0] - began_s,
                "denoise": marks[-1] - marks[0],
                "decode_latents": ended_s - marks[-1],
            }
        return AdapterPicture(
            picture.convert("RGB"), len(step_seconds) or None, stages, step_seconds
        )

    def stop(self) -> None:
        """Let go of the model."""
        if self._model is not None:
            self._model.close()


def _note(marks: list[float], step: int, steps: int, planned: int) -> None:
    """Note the end of a step of the sampler: other work reports its own steps by the same way."""
    if steps == planned and step == len(marks):
        marks.append(time.monotonic())


def _decode(png: bytes) -> Any:
    from PIL import Image

    picture = Image.open(io.BytesIO(png))
    picture.load()
    return picture


def main() -> None:
    """Serve one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", help="a file in safetensors or GGUF, or a diffusers folder")
    parser.add_argument("--type", help="number format of the weights, such as q8_0")
    parser.add_argument("--method", default="euler", help="sampler")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    program = StableDiffusionCpp(parser.parse_args())
    serve(program.describe, program.load, program.draw, program.stop)


if __name__ == "__main__":
    main()
