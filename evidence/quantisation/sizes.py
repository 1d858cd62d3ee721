"""Count what int8 weights take of the 16-bit ones, with the VAE's encoder and without it.

    python -m evidence.quantisation.sizes --json docs/results/quantised-bytes.json

Shapes alone decide: the large model is built on torch's meta device, without a byte of weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import torch

from evidence.random_pipelines import build_sd15
from sdperf.models.loader import load_pipeline, resolve_model
from sdperf.pipeline.optimisations.networks import find_denoiser, optimise_networks
from sdperf.pipeline.weights import count_weight_bytes
from sdperf.record.workload import EMBEDDED
from sdperf.store.files import write_atomically

SETS: Final = ("int8_weights", "int8_dynamic")
DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16}


def build_embedded(*, dtype: torch.dtype) -> Any:
    return load_pipeline(resolve_model(EMBEDDED), torch_dtype=dtype, device="cpu")


BUILDERS: Final[Mapping[str, Callable[..., Any]]] = {
    "embedded": build_embedded,
    "sd15": partial(build_sd15, device="meta"),
}


@dataclass(frozen=True)
class Sizes:
    """Bytes of a pipeline's weights.

    Attributes:
        plain_bytes: All weights in 16 bits.
        encoder_bytes: Of these, the VAE's encoder and the convolution behind it.
        stored_bytes: All weights as the optimisation stores them, the encoder let go.
        kept_bytes: The same with the encoder kept and quantised.
    """

    plain_bytes: int
    encoder_bytes: int
    stored_bytes: int
    kept_bytes: int

    @property
    def shares(self) -> dict[str, float]:
        """Bytes over those in 16 bits: as it is, with the encoder, and on both sides without."""
        return {
            "share": self.stored_bytes / self.plain_bytes,
            "share_with_encoder": self.kept_bytes / self.plain_bytes,
            "share_both_without": self.stored_bytes / (self.plain_bytes - self.encoder_bytes),
        }


def measure_sizes(build: Callable[[], Any], name: str) -> Sizes:
    """Count the bytes of a pipeline before and after an optimisation.

    Args:
        build: Makes the pipeline anew, on any device.
        name: The optimisation.
    """
    pipeline = build()
    bits = 8 * pipeline.vae.dtype.itemsize
    plain = count_weight_bytes(pipeline)
    encoders = [one for one in (pipeline.vae.encoder, pipeline.vae.quant_conv) if one is not None]
    encoder = sum(weight.nbytes for one in encoders for weight in one.parameters())
    optimise_networks(pipeline, (name,))
    whole = build()
    # Not a call that is known to make images from text only, so that nothing is let go.
    unknown = SimpleNamespace(components=whole.components, vae=whole.vae, unet=find_denoiser(whole))
    optimise_networks(unknown, (name,))
    return Sizes(
        sum(plain.values()) * 16 // bits,
        encoder * 16 // bits,
        sum(count_weight_bytes(pipeline).values()),
        sum(count_weight_bytes(unknown).values()),
    )


def main(typed: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default=",".join(BUILDERS))
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args(typed)
    rows = []
    for model in arguments.models.split(","):
        for precision in ("fp32", "fp16") if model == EMBEDDED else ("fp16",):
            for name in SETS:
                build = partial(BUILDERS[model], dtype=DTYPES[precision])
                sizes = measure_sizes(build, name)
                row = {"model": model, "precision": precision, "optimisations": name}
                rows.append({**row, **asdict(sizes), **sizes.shares})
                shares = ", ".join(f"{key} {value:.4f}" for key, value in sizes.shares.items())
                print(f"{model} {precision} {name}: {shares}", flush=True)
    document = {"torch": torch.__version__, "sizes": rows}
    write_atomically(arguments.json, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
