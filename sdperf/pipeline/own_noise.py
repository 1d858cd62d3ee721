"""Draws starting noise for a pipeline that is called whole; the pipeline itself packs it.

A pipeline draws its latents in its own number format, so that two precisions would start from
different pictures. Here they are drawn once in float32 and passed as ``latents``. Calls differ in
what they take there (the drawn numbers, or the result of their `prepare_latents`), so it is tried:
the denoiser must get exactly the inputs that it would have got without.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from sdperf.pipeline.borders import find_denoiser, stand_in

_DRAW: Final = "randn_tensor"
"""Name of the function by which diffusers' pipelines draw noise."""


@dataclass(frozen=True)
class NoisePlan:
    """How a pipeline takes noise that was drawn for it.

    Attributes:
        pipeline: The `diffusers.DiffusionPipeline`.
        shape: Shape of one image's noise, with a batch of 1 in front.
        dtype: Number format in which the call takes it.
        device: Device on which the call takes it.
        arguments: Arguments of the pipeline's `prepare_latents`, which packs the noise; ``None``
            where the call takes it unpacked.
    """

    pipeline: Any
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    arguments: Mapping[str, Any] | None

    def draw(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw the noise of a batch, (B, ...), in the form that the call takes.

        Args:
            generators: One generator per image, on the CPU; each is advanced.
        """
        drawn = _draw(self.shape, generators).to(self.dtype).to(self.device)
        if self.arguments is None:
            return drawn
        given = {**self.arguments, "batch_size": len(generators), "generator": list(generators)}
        with _drawing(self.pipeline, lambda *_args, **_keywords: drawn):
            return _first_tensor(self.pipeline.prepare_latents(**given))


class _NoiseReached(BaseException):
    """Raised before the denoiser is called; it is not an error, and passes ``except Exception``."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.inputs = inputs


def run_to_denoiser(pipeline: Any, call: Callable[[], object]) -> Any:
    """Run a pipeline's call until it calls its denoiser, and end it there.

    Args:
        pipeline: The `diffusers.DiffusionPipeline`.
        call: Calls it.

    Returns:
        The positional and the named inputs of the denoiser's first call; ``None`` where the call
        ended before, or the pipeline has no denoiser.
    """
    denoiser = find_denoiser(pipeline)
    if denoiser is None:
        return None

    def stop(_network: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        raise _NoiseReached((args, keywords))

    hook = denoiser.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        call()
    except _NoiseReached as reached:
        pipeline.maybe_free_model_hooks()
        return reached.inputs
    finally:
        hook.remove()
    return None


def learn_noise(
    pipeline: Any, call: Callable[[torch.Tensor | None, list[torch.Generator]], object]
) -> NoisePlan | None:
    """Find how a pipeline takes noise; ``None`` where it can only draw its own.

    Args:
        pipeline: The `diffusers.DiffusionPipeline`.
        call: Calls it for one image, with latents or without, and with its generators.
    """
    prepare = getattr(pipeline, "prepare_latents", None)
    if prepare is None or _find_module(pipeline) is None:
        return None
    drawn: list[tuple[torch.Tensor, tuple[int, ...]]] = []
    prepared: list[tuple[dict[str, Any], torch.Tensor]] = []

    def draw(
        shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, **_: Any
    ) -> torch.Tensor:
        generators = generator if isinstance(generator, list) else [generator]
        whole = _draw((1, *shape[1:]), generators).to(dtype).to(device)
        drawn.append((whole, tuple(shape)))
        return whole

    def note(*args: Any, **keywords: Any) -> Any:
        bound = inspect.signature(plain_prepare).bind(*args, **keywords)
        result = plain_prepare(*args, **keywords)
        prepared.append((dict(bound.arguments), _first_tensor(result)))
        return result

    with contextlib.ExitStack() as stack:
        plain_prepare = stand_in(pipeline, "prepare_latents", note, stack)
        stack.enter_context(_drawing(pipeline, draw))
        plain = run_to_denoiser(pipeline, lambda: call(None, _generators()))
    if plain is None or len(drawn) != 1 or len(prepared) != 1 or drawn[0][1][0] != 1:
        return None
    (raw, shape), (arguments, packed) = drawn[0], prepared[0]
    choices: list[tuple[torch.Tensor, Mapping[str, Any] | None]] = [(raw, None)]
    if "batch_size" in arguments and "generator" in arguments:
        choices.append((packed, {**arguments, "latents": None}))
    for handed, packing in choices:
        plan = NoisePlan(pipeline, shape, raw.dtype, raw.device, packing)
        if _takes(pipeline, call, plan, handed, plain):
            return plan
    return None


def _takes(
    pipeline: Any,
    call: Callable[[torch.Tensor | None, list[torch.Generator]], object],
    plan: NoisePlan,
    handed: torch.Tensor,
    plain: Any,
) -> bool:
    """Tell whether the denoiser gets the same inputs with passed noise as without."""
    try:
        if not torch.equal(plan.draw(_generators()), handed):
            return False
        given = run_to_denoiser(pipeline, lambda: call(handed.clone(), _generators()))
    except (RuntimeError, TypeError, ValueError):  # the call checks shapes with its own errors
        return False
    return _are_equal(plain, given)


def _find_module(pipeline: Any) -> Any:
    """Return the module in which `prepare_latents` draws; ``None`` where it draws differently."""
    for kind in type(pipeline).__mro__:
        if "prepare_latents" in vars(kind):
            module = sys.modules.get(kind.__module__)
            return module if hasattr(module, _DRAW) else None
    return None


@contextlib.contextmanager
def _drawing(pipeline: Any, draw: Callable[..., torch.Tensor]) -> Iterator[None]:
    """Let the pipeline's module draw by another function; on the device thread alone."""
    module = _find_module(pipeline)
    before = getattr(module, _DRAW)
    setattr(module, _DRAW, draw)
    try:
        yield
    finally:
        setattr(module, _DRAW, before)


def _draw(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
    return torch.cat(
        [torch.randn(shape, generator=each, dtype=torch.float32) for each in generators]
    )


def _generators() -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(0)]


def _first_tensor(result: Any) -> torch.Tensor:
    tensor: torch.Tensor = result[0] if isinstance(result, tuple | list) else result
    return tensor


def _are_equal(one: Any, other: Any) -> bool:
    """Compare nested arguments; tensors bit for bit, objects such as caches by their content."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.shape == other.shape
        return same and torch.equal(one, other)
    if isinstance(one, tuple | list):
        return (
            isinstance(other, tuple | list)
            and len(one) == len(other)
            and all(map(_are_equal, one, other))
        )
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(_are_equal(value, other[name]) for name, value in one.items())
        )
    if one is other or bool(one == other):
        return True
    held = getattr(one, "__dict__", None)  # each call has its own object
    return bool(held) and type(one) is type(other) and _are_equal(held, other.__dict__)
