"""Switches a cache of diffusers on, keeps its hooks out of compiled code, and counts its work."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from packaging.version import Version

from sdperf.errors import ConfigurationError
from sdperf.pipeline.borders import find_denoiser
from sdperf.pipeline.optimisations.caches.clock import StepClock
from sdperf.pipeline.optimisations.caches.kinds import CACHES, CacheKind
from sdperf.pipeline.optimisations.caches.magnitudes import MagnitudeRatios
from sdperf.pipeline.separable import PromptEmbeds, SeparableStages
from sdperf.pipeline.stages import Noise, OnStep, Pixels, Stages

_KEPT_AS: Final = "sdperf_cache"
"""The denoiser's attribute that holds its `InstalledCache`."""


class InstalledCache:
    """A cache of diffusers in a denoiser.

    Attributes:
        name: The optimisation.
        configuration: The configuration that diffusers' hooks read.
        ratios: The ratios of MagCache; ``None`` for other caches.
    """

    def __init__(self, pipeline: Any, denoiser: torch.nn.Module, name: str) -> None:
        """Switch it on.

        Args:
            pipeline: A `diffusers.DiffusionPipeline`; its denoiser is changed.
            denoiser: Its network.
            name: The optimisation.

        Raises:
            ConfigurationError: The network, the scheduler or this diffusers has no such cache.
        """
        self.name = name
        self._kind = CACHES[name]
        self._pipeline = pipeline
        _check_denoiser(denoiser, name, self._kind)
        self._clock = StepClock(pipeline, denoiser, name, self._kind.sides)
        self.configuration = self._kind.configure(self._clock.read_timestep)
        _enable(denoiser, name, self._kind, self.configuration)
        self._hooked = _find_hooked(denoiser)
        if not self._hooked:
            raise ConfigurationError(
                f"{name} finds nothing in {type(denoiser).__name__} that it could leave out",
                expected="repeated blocks that diffusers' cache knows",
                hint=f"leave {name} out",
            )
        self._plain = [reference.original_forward for _, reference in self._hooked]
        self._computed = 0
        self._wrap(lambda function: function)
        self.ratios: MagnitudeRatios | None = None
        if name == "mag_cache":
            self.ratios = MagnitudeRatios(self.configuration)
            self._clock.on_picture(self.ratios.begin_picture)

    @property
    def left_out(self) -> int:
        """Calls of blocks, or of their attention, that the bound workload left out so far."""
        return self._clock.calls * len(self._hooked) - self._computed

    @property
    def blocks(self) -> frozenset[torch.nn.Module]:
        """The modules whose calls can be left out."""
        return frozenset(module for module, _ in self._hooked)

    def compile_inside(
        self, compile_it: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        """Compile what the hooks call, and keep the hooks, which count steps, out of it.

        torch would compile again for each number that a hook compares, and run all below
        MagCache's hooks uncompiled.
        """
        self._wrap(compile_it)
        for module, _ in self._hooked:
            module.forward = _fence(module.forward)

    def begin_workload(self, stages: Stages) -> None:
        """Count from here, and refuse a workload that this cache cannot follow or saves nothing of.

        Raises:
            ConfigurationError: Its scheduler does not say which step it is in, or it is not guided
                and this cache saves the side of guidance without a prompt.
        """
        self._clock.check_scheduler()
        self._computed = self._clock.calls = 0
        scale = stages.guidance_scale
        if self._kind.needs_guidance and (scale is None or scale <= 1):
            raise ConfigurationError(
                f"{self.name} saves calls without a prompt, and there are none without guidance",
                got="no guidance" if scale is None else f"guidance {scale:g}",
                expected="a guidance above 1",
                hint=f"leave {self.name} out, or use pyramid_attention",
            )

    def _wrap(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        for (_, reference), plain in zip(self._hooked, self._plain, strict=True):
            reference.original_forward = self._count(wrap(plain))

    def _count(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **keywords: Any) -> Any:
            self._computed += 1
            return function(*args, **keywords)

        return run


def install_cache(pipeline: Any, denoiser: torch.nn.Module, name: str) -> None:
    """Let diffusers cache between a transformer's steps, in place.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
        denoiser: Its network.
        name: Name of the optimisation.

    Raises:
        ConfigurationError: The network, the scheduler or this diffusers has no such cache.
    """
    setattr(denoiser, _KEPT_AS, InstalledCache(pipeline, denoiser, name))


def find_cache(pipeline: Any) -> InstalledCache | None:
    """Return the cache in a pipeline's denoiser; ``None`` where there is none."""
    return getattr(find_denoiser(pipeline), _KEPT_AS, None)


def bind_cache(stages: Stages) -> None:
    """Bind a pipeline's cache, if it has one, to a workload.

    MagCache's ratios are taken just before the first picture, in the first call: from the
    workload's own first picture, so that all workers leave out the same.

    Args:
        stages: The pipeline, bound to its workload; changed in place.

    Raises:
        ConfigurationError: The cache does not suit the workload.
    """
    cache = find_cache(stages.pipeline)
    if cache is None:
        return
    cache.begin_workload(stages)
    if cache.ratios is not None:
        cache.ratios.begin_workload(stages.workload)
        _take_ratios_first(stages, cache.ratios)


def _take_ratios_first(stages: Any, ratios: MagnitudeRatios) -> None:
    run_whole = stages.run_whole

    def take() -> None:
        if ratios.is_missing:
            image = stages.workload.image(0)
            ratios.take(lambda: run_whole([image.prompt], stages.draw_noise([image])))

    def run_with_ratios(
        prompts: Sequence[str], noise: Noise, on_step: OnStep | None = None
    ) -> Pixels:
        take()
        pixels: Pixels = run_whole(prompts, noise, on_step)
        return pixels

    stages.run_whole = run_with_ratios
    if isinstance(stages, SeparableStages):
        denoise = stages.denoise

        def denoise_with_ratios(
            embeds: PromptEmbeds, noise: Noise, on_step: OnStep | None = None
        ) -> torch.Tensor:
            take()
            return denoise(embeds, noise, on_step)

        stages.denoise = denoise_with_ratios  # type: ignore[method-assign]


def _check_denoiser(denoiser: torch.nn.Module, name: str, kind: CacheKind) -> None:
    import diffusers

    network = type(denoiser).__name__
    if network in kind.fails:
        raise ConfigurationError(
            f"{name} of diffusers fails on {network}: {kind.fails[network]}",
            hint="use taylorseer_cache",
        )
    since = kind.since.get(network)
    if since is not None and Version(diffusers.__version__) < Version(since):
        raise ConfigurationError(
            f"{name} of this diffusers fails on {network}",
            got=f"diffusers {diffusers.__version__}",
            expected=f"{since} or newer",
            hint=f"pip install -U diffusers, or leave {name} out",
        )
    expected = "a transformer with enable_cache, such as those of FLUX.2 and Qwen-Image"
    fits = hasattr(denoiser, "enable_cache")
    if kind.any_transformer:
        expected = "a transformer, such as that of Z-Image"
        fits = "UNet" not in network
    if kind.denoisers is not None:
        expected = "one of " + ", ".join(kind.denoisers)
        fits = network in kind.denoisers
    if not fits or not hasattr(diffusers, kind.configuration):
        raise ConfigurationError(
            f"{name} is not for {network} in diffusers {diffusers.__version__}",
            expected=expected,
            hint=f"leave {name} out",
        )


def _enable(denoiser: Any, name: str, kind: CacheKind, configuration: Any) -> None:
    import diffusers

    _name_first_argument(denoiser)
    logger = logging.getLogger("diffusers.hooks.faster_cache")  # it calls itself experimental
    disabled, logger.disabled = logger.disabled, True
    try:
        if hasattr(denoiser, "enable_cache"):
            denoiser.enable_cache(configuration)
        else:
            getattr(diffusers.hooks, kind.apply)(denoiser, configuration)
    except (ValueError, LookupError) as error:
        raise ConfigurationError(
            f"{name} cannot be used with {type(denoiser).__name__}",
            got=str(error),
            hint=f"leave {name} out",
        ) from error
    finally:
        logger.disabled = disabled


def _name_first_argument(denoiser: torch.nn.Module) -> None:
    """Tell diffusers how blocks name what goes through them: Z-Image's say ``x``.

    diffusers 0.42.1 knows these blocks by a name that they do not have.
    """
    from diffusers.hooks._helpers import TransformerBlockRegistry

    for kind in {type(part) for part in denoiser.modules()}:
        try:
            known = TransformerBlockRegistry.get(kind)
        except ValueError:
            continue
        arguments = list(inspect.signature(kind.forward).parameters)[1:]
        if known.hidden_states_argument_name not in arguments:
            known.hidden_states_argument_name = arguments[0]


def _find_hooked(denoiser: torch.nn.Module) -> list[tuple[Any, Any]]:
    """List modules below the denoiser whose calls a hook can leave out, each with the innermost."""
    hooked = []
    for module in denoiser.modules():
        registry = getattr(module, "_diffusers_hook", None)
        references = [] if registry is None or module is denoiser else registry._fn_refs
        replacing = [one for one in references if one.original_forward is not None]
        if replacing:
            hooked.append((module, replacing[0]))
    return hooked


def _fence(hooked: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(hooked)
    def run(*args: Any, **keywords: Any) -> Any:
        return hooked(*args, **keywords)

    fenced: Callable[..., Any] = torch.compiler.disable(run)  # type: ignore[no-untyped-call]
    return fenced
