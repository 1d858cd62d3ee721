"""What takes turns: plain diffusers, diffusers' own recipe, and sets of optimisations."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch

from sdperf.device import Device
from sdperf.errors import ConfigurationError
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.pipeline.families import family_of, stages_for
from sdperf.pipeline.optimisations.catalogue import (
    check_supported,
    parse_optimisations,
    sort_names,
)
from sdperf.pipeline.optimisations.compiling import compile_blocks
from sdperf.pipeline.optimisations.networks import optimise_networks
from sdperf.pipeline.optimisations.optimised_stages import optimise_stages
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.scheduling import apply_scheduler
from sdperf.pipeline.stages import Stages
from sdperf.record.workload import ImageRequest, Workload

PLAIN: Final = "plain diffusers"
RECIPE: Final = "diffusers' recipe"
CACHE_DIT: Final = "cache-dit"
PEERS: Final = (RECIPE, CACHE_DIT)
STREAMED: Final = 4
"""Pictures of a stream whose files are made beside the next picture."""

_COPIED: Final = ("unet", "vae")
"""Networks whose weights change their order in place: a side has its own; others share theirs."""


@dataclass
class Side:
    """One of those that take turns.

    Attributes:
        name: What it is called.
        stages: Its pipeline, bound to the workload; what its stages are timed by.
        generate: Makes the pictures of requests, and returns their files.
        names: Optimisations that are on.
        images: How many pictures a round of it makes.
        repeats_prompt: Whether it is asked for the same prompt each time, which kept embeddings
            need.
    """

    name: str
    stages: Stages
    generate: Callable[[Sequence[ImageRequest]], list[bytes]]
    names: tuple[str, ...] = ()
    images: int = 1
    repeats_prompt: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def make_plain(pipeline: Any, workload: Workload) -> Side:
    """Make the side that calls the pipeline and saves what it returns, as its examples do."""
    stages = _bind(pipeline, workload)
    return Side(PLAIN, stages, lambda requests: _call_plainly(stages, requests))


def make_recipe(pipeline: Any, workload: Workload, *, with_search: bool = False) -> Side:
    """Make the side of diffusers' documentation, "Accelerate inference" and "torch.compile".

    Channels last, fused projections where the class has them, repeated blocks compiled as one graph
    (a UNet, and what names no blocks, as a whole) and the decoder, with what it sets of inductor.

    Args:
        pipeline: The plain pipeline, which is left as it is.
        workload: What it generates.
        with_search: Whether inductor also searches for tile sizes, as the documentation has it: it
            takes minutes, and is never done for a UNet.
    """
    own = copy_pipeline(pipeline)
    denoiser = getattr(own, "unet", None) or own.transformer
    denoiser.to(memory_format=torch.channels_last)
    config = torch._inductor.config
    is_unet = getattr(own, "unet", None) is not None
    config.conv_1x1_as_mm = True
    config.coordinate_descent_tuning = with_search and not is_unet
    config.coordinate_descent_check_all_directions = with_search and not is_unet
    config.epilogue_fusion = False
    stages = _bind(own, workload)
    owners = [one for one in (own, denoiser) if hasattr(one, "fuse_qkv_projections")]
    if owners:
        owners[0].fuse_qkv_projections()
    if not is_unet and getattr(denoiser, "_repeated_blocks", None):
        denoiser.compile_repeated_blocks(fullgraph=True)
    else:
        denoiser.compile(fullgraph=True)
    if all(weight.ndim < 5 for weight in own.vae.parameters()):
        own.vae.to(memory_format=torch.channels_last)
        own.vae.decode = torch.compile(own.vae.decode, fullgraph=True)
    return Side(RECIPE, stages, lambda requests: _call_plainly(stages, requests))


def make_cache_dit(pipeline: Any, workload: Workload) -> Side:
    """Make the side of cache-dit as its documentation begins: its defaults, blocks compiled.

    Its picture is an approximate one. It knows transformers alone.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import cache_dit
    except ImportError as error:
        raise ConfigurationError("cache-dit is not installed", got=str(error)) from error
    own = copy_pipeline(pipeline)
    cache_dit.enable_cache(own)
    cache_dit.set_compile_configs()
    compile_blocks(own.transformer, ())  # diffusers' own method knows no SD 3
    stages = _bind(own, workload)
    return Side(CACHE_DIT, stages, lambda requests: _call_plainly(stages, requests))


@contextlib.contextmanager
def inductor_as_it_was() -> Iterator[None]:
    """Put inductor's settings back at the end: the recipe's are those of a whole process."""
    names = (
        "conv_1x1_as_mm",
        "coordinate_descent_tuning",
        "coordinate_descent_check_all_directions",
        "epilogue_fusion",
    )
    config = torch._inductor.config
    before = {name: getattr(config, name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def make_optimised(pipeline: Any, workload: Workload, text: str, device: Device) -> Side:
    """Make the side of a set of optimisations.

    Args:
        pipeline: The plain pipeline, which is left as it is.
        workload: What it generates.
        text: Names joined by ``+``; ``@15`` behind them takes 15 denoising steps, an approximate
            picture.
        device: Where the pipeline is.

    Raises:
        ConfigurationError: One of them does not suit the pipeline or the device.
    """
    text, _, steps = text.partition("@")
    if steps:
        workload = replace(workload, num_inference_steps=int(steps))
    names = parse_optimisations(text)
    described = device.describe()
    check_supported(
        names,
        described.kind,
        family_of(pipeline),
        type(pipeline).__name__,
        described.compute_capability,
    )
    own = copy_pipeline(pipeline)
    optimise_networks(own, names)
    stages = optimise_stages(_bind(own, workload), names)

    def generate(requests: Sequence[ImageRequest]) -> list[bytes]:
        pixels = stages.run_whole([one.prompt for one in requests], stages.draw_noise(requests))
        return [stages.encode_png(picture) for picture in to_uint8(pixels)]

    return Side(
        "+".join(sort_names(names)) + (f" in {steps} steps" if steps else ""),
        stages,
        generate,
        names,
        images=stages.images_per_call,
        repeats_prompt="embed_cache" in names,
    )


def make_stream(side: Side) -> Side:
    """Let another side's files be made on a second thread, beside the next picture."""
    stages = side.stages
    threads = ThreadPoolExecutor(2, thread_name_prefix="delivery")

    def deliver(pixels: Any) -> bytes:
        return stages.encode_png(to_uint8(pixels)[0])

    def generate(requests: Sequence[ImageRequest]) -> list[bytes]:
        made = []
        for one in requests:
            pixels = stages.run_whole([one.prompt], stages.draw_noise([one]))
            made.append(threads.submit(deliver, pixels))
        return [each.result() for each in made]

    return Side(f"{side.name}, a stream of {STREAMED}", stages, generate, side.names, STREAMED)


def copy_pipeline(pipeline: Any) -> Any:
    """Copy a pipeline so that a change of one changes the other no more; weights are shared."""
    shared: dict[int, Any] = {}
    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module):
            if name.startswith("tokenizer"):
                shared[id(part)] = part
        elif name not in _COPIED:
            shared.update({id(one): one for one in (*part.parameters(), *part.buffers())})
    return copy.deepcopy(pipeline, shared)


def _bind(pipeline: Any, workload: Workload) -> Stages:
    apply_scheduler(pipeline, workload.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    stages = stages_for(pipeline, workload)
    stages.learn([workload.prompts[0]])
    return stages


def _call_plainly(stages: Stages, requests: Sequence[ImageRequest]) -> list[bytes]:
    """Call a pipeline as a user does, from the noise that all sides start from."""
    with known_warnings_ignored():
        images = stages.pipeline(
            prompt=[one.prompt for one in requests],
            **stages._negative_prompt(len(requests)),
            **stages._sampling(stages.draw_noise(requests), None),
        ).images
    files = []
    for image in images:
        file = io.BytesIO()
        image.save(file, format="PNG")
        files.append(file.getvalue())
    return files
