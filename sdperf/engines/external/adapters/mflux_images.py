"""mflux, in its own environment: Z-Image and FLUX.2 on MLX.

    sdperf external check '/envs/mflux/bin/python {adapters}/mflux_images.py --variant z-image'

``--make FILE:FUNCTION`` takes a model that a function of yours builds of mflux's classes.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from serving import AdapterPicture, serve

_VARIANTS = {
    "z-image-turbo": ("mflux.models.z_image.variants.z_image:ZImage", "z_image_turbo"),
    "z-image": ("mflux.models.z_image.variants.z_image:ZImage", "z_image"),
    "flux2-klein-4b": (
        "mflux.models.flux2.variants.txt2img.flux2_klein:Flux2Klein",
        "flux2_klein_4b",
    ),
    "flux2-klein-9b": (
        "mflux.models.flux2.variants.txt2img.flux2_klein:Flux2Klein",
        "flux2_klein_9b",
    ),
}
_ACCEPTS = ("steps", "size", "picture", "strength")
_PACKAGES = ("mflux", "mlx", "mlx-cpu", "mlx-metal", "transformers")


class Mflux:
    """One model of mflux, with callbacks that note when its loop begins, steps and ends.

    Args:
        options: The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._model: Any = None
        self._marks: list[float] = []
        self._ended_s = 0.0
        self._is_finite = True
        self._shapes: tuple[object, ...] = ()

    def describe(self) -> Mapping[str, Any]:
        """Describe it."""
        options = self._options
        bits = f"q{options.quantize}" if options.quantize else "bf16"
        made = options.make.rpartition("/")[2] if options.make else None
        return {
            "name": "mflux",
            "version": _find_version("mflux") or "unknown",
            "model": made or " ".join(filter(None, (options.variant, options.model))),
            "device": "mps" if sys.platform == "darwin" else "cpu",
            "device_name": f"MLX on {platform.machine()}",
            "precision": bits,
            "accepts": [*_ACCEPTS, *([] if options.no_guidance else ["guidance"])],
            "largest_seed": 2**63 - 1,
            "versions": {name: found for name in _PACKAGES if (found := _find_version(name))},
        }

    def load(self, asked: Mapping[str, Any]) -> int | None:  # noqa: ARG002
        """Load the weights; return their bytes as MLX holds them."""
        import mlx.core as mx
        from mlx.utils import tree_flatten

        mx.clear_cache()
        self._model = self._make()
        self._model.callbacks.register(self)
        arrays = [one for _, one in tree_flatten(self._model.parameters())]
        mx.eval(arrays)
        return sum(int(one.nbytes) for one in arrays)

    def draw(self, asked: Mapping[str, Any]) -> AdapterPicture:
        """Draw one picture; what another case's shapes left in MLX's cache is dropped before."""
        import mlx.core as mx

        size = asked["width"] or 512, asked["height"] or 512
        shapes = (asked.get("case"), *size)
        if shapes != self._shapes:
            mx.clear_cache()
            self._shapes = shapes
        mx.reset_peak_memory()
        self._marks = []
        self._is_finite = True
        began_s = time.monotonic()
        named = {} if asked["guidance"] is None else {"guidance": float(asked["guidance"])}
        with _given(asked) as given:
            drawn = self._model.generate_image(
                seed=asked["seed"],
                prompt=asked["prompt"],
                num_inference_steps=asked["steps"],
                width=size[0],
                height=size[1],
                **named,
                **given,
            )
        ended_s = time.monotonic()
        step_seconds = [after - before for before, after in itertools.pairwise(self._marks)]
        stages = {
            "encode_prompt": self._marks[0] - began_s,
            "denoise": self._ended_s - self._marks[0],
            "decode_latents": ended_s - self._ended_s,
        }
        peak_bytes = int(mx.get_peak_memory())
        picture = drawn.image.convert("RGB")
        steps = len(step_seconds)
        return AdapterPicture(picture, steps, stages, step_seconds, peak_bytes, self._is_finite)

    def call_before_loop(self, latents: Any, **more: Any) -> None:  # noqa: ARG002
        """Note that prompt and noise are ready; mflux calls this."""
        self._note(latents)

    def call_in_loop(self, t: int, latents: Any, **more: Any) -> None:  # noqa: ARG002
        """Note the end of a step: mflux evaluates the latents next anyway."""
        self._note(latents)

    def call_after_loop(self, latents: Any, **more: Any) -> None:  # noqa: ARG002
        """Look at the last latents."""
        import mlx.core as mx

        self._is_finite = bool(mx.isfinite(latents).all().item())
        self._ended_s = time.monotonic()

    def _note(self, latents: Any) -> None:
        import mlx.core as mx

        mx.eval(latents)
        self._marks.append(time.monotonic())

    def _make(self) -> Any:
        options = self._options
        if options.make:
            path, _, name = options.make.rpartition(":")
            spec = importlib.util.spec_from_file_location("made", path)
            if spec is None or spec.loader is None:
                raise FileNotFoundError(path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return getattr(module, name)(options.quantize)
        where, config = _VARIANTS[options.variant]
        module_name, _, class_name = where.partition(":")
        from mflux.models.common.config.model_config import ModelConfig

        return getattr(importlib.import_module(module_name), class_name)(
            quantize=options.quantize,
            model_path=options.model,
            model_config=getattr(ModelConfig, config)(),
        )


@contextlib.contextmanager
def _given(asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield how a picture to start from is named: mflux opens a file.

    Its strength is the share of the picture that stays, ours the share of the steps that is drawn.
    """
    if asked["picture"] is None:
        yield {}
        return
    strength = 0.8 if asked["strength"] is None else asked["strength"]
    with tempfile.TemporaryDirectory(prefix="sdperf-mflux-") as folder:
        path = Path(folder) / "given.png"
        path.write_bytes(asked["picture"])
        yield {"image_path": path, "image_strength": 1.0 - strength}


def _read_bits(text: str) -> int | None:
    if text == "none":
        return None
    bits = text.removeprefix("q")
    if bits not in ("3", "4", "5", "6", "8"):
        raise argparse.ArgumentTypeError(f"{text}: none, q3, q4, q5, q6 or q8 is expected")
    return int(bits)


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Serve one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=tuple(_VARIANTS), default="z-image-turbo")
    parser.add_argument("--model", help="a folder, or a repository of the hub")
    parser.add_argument(
        "--quantize",
        type=_read_bits,
        metavar="none|q3|q4|q5|q6|q8",
        help="bits of a weight; bf16 where none",
    )
    parser.add_argument("--make", metavar="FILE:FUNCTION", help="builds the model another way")
    parser.add_argument("--no-guidance", action="store_true", help="the model takes no scale")
    options = parser.parse_args()
    if options.make and not Path(options.make.rpartition(":")[0]).is_file():
        parser.error(f"--make: no such file: {options.make}")
    program = Mflux(options)
    serve(program.describe, program.load, program.draw)


if __name__ == "__main__":
    main()
