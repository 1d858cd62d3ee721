"""The optimisations by name: their effect, their devices, and the floors of their images.

Plain values and pure functions; nothing here imports torch.
"""

from __future__ import annotations

import difflib
import platform
from collections.abc import Callable, Iterable, Sequence
from typing import Final, get_args

from sdperf import settings
from sdperf.device import DeviceInfo, DeviceKind
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.entries import ALL, UNET_CLASSES, WEIGHTS, Optimisation

DEFAULT: Final = "default"
"""The word for the default optimisations of a device."""

PLAIN: Final = "none"
"""The word for the plain pipeline."""

EXACT_SSIM: Final = 0.98
APPROXIMATE_SSIM: Final = 0.90

ALL_DEVICES: Final[tuple[DeviceKind, ...]] = get_args(DeviceKind)

OPTIMISATIONS: Final[dict[str, Optimisation]] = {one.name: one for one in ALL}
"""All optimisations by name, in the order in which they are applied."""

QUANTISATIONS: Final = tuple(one.name for one in ALL if one.group == WEIGHTS)
"""The optimisations that store weights in fewer bits."""

DIFFUSERS_CACHES: Final = tuple(one.name for one in ALL if not one.recorded)
"""diffusers' own caches, which decide on the host in each step."""


def parse_optimisations(text: str) -> tuple[str, ...]:
    """Parse ``channels_last+compile``; ``none`` is the plain pipeline.

    Returns:
        Names in the order in which they are applied, or ``("default",)``.

    Raises:
        ValueError: A name is unknown or comes twice, or two exclude each other.
    """
    names = tuple(name.strip() for name in text.split("+"))
    if names == (PLAIN,):
        return ()
    if names == (DEFAULT,):
        return names
    unknown = [name for name in names if name not in OPTIMISATIONS]
    if unknown:
        raise ValueError(_explain_unknown(unknown[0]))
    if len(set(names)) < len(names):
        raise ValueError("each name once")
    complaint = find_conflict(names)
    if complaint is not None:
        raise ValueError(complaint)
    return sort_names(names)


def _explain_unknown(name: str) -> str:
    """List the known names, and the nearest one to an unknown name."""
    if name in (PLAIN, DEFAULT):
        meaning = "the plain pipeline" if name == PLAIN else "the device's own set"
        return f"{name} stands for {meaning}, alone and not beside other names"
    known = (PLAIN, DEFAULT, *OPTIMISATIONS)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    meant = f"{near[0]} is the nearest to {name!r}; " if near else ""
    got = "" if near else f"{name!r} is no such name; " if name else "the name is empty; "
    return f"{meant}{got}one of {', '.join(known)}"


def parse_named_optimisations(text: str) -> tuple[str, ...]:
    """Parse optimisations without ``default``, which is another set on each device.

    Raises:
        ValueError: For the reasons of `parse_optimisations`, or the default is named.
    """
    names = parse_optimisations(text)
    if names == (DEFAULT,):
        raise ValueError("optimisations by name; the default is another one on each device")
    return names


def sort_names(names: Sequence[str]) -> tuple[str, ...]:
    """Sort names by the order in which they are applied, so that a set has one spelling."""
    return tuple(name for name in OPTIMISATIONS if name in names)


def default_for(device: DeviceKind, pipeline_class: str) -> tuple[str, ...]:
    """Return the default optimisations: those measured to help there, with images within floors.

    Args:
        device: The kind of device.
        pipeline_class: Class of diffusers that the model is opened as. sdperf's own loop and
            recorded denoisers were measured for `UNET_CLASSES` only.
    """
    is_unet = pipeline_class in UNET_CLASSES
    return tuple(
        one.name
        for one in OPTIMISATIONS.values()
        if device in (one.default_on if is_unet else one.default_elsewhere)
    )


def find_conflict(names: Sequence[str]) -> str | None:
    """Say why optimisations exclude each other; ``None`` where they do not."""
    chosen = [OPTIMISATIONS[name] for name in names]
    groups: dict[str, str] = {}
    for one in chosen:
        if one.group is not None and one.group in groups:
            return f"{groups[one.group]} or {one.name}, not both"
        if one.group is not None:
            groups[one.group] = one.name
        if one.needs and not set(one.needs) & set(names):
            return f"{one.name} only with {' or '.join(one.needs)}"
        if one.needs_recorded and is_recorded(names) and not set(one.needs_recorded) & set(names):
            return (
                f"{one.name} is recorded only with {' or '.join(one.needs_recorded)}: torchao "
                "reads values back from the device in calls that are not compiled"
            )
        if not one.recorded and is_recorded(names):
            return f"{one.name} decides on the host in each step, which no recording can repeat"
        for other in names:
            if other in one.excludes:
                return f"{one.name} or {other}, not both: {one.excludes[other]}"
    return None


def list_of_torch(names: Sequence[str]) -> tuple[str, ...]:
    """List those optimisations that change torch's networks, which another engine replaces."""
    return tuple(name for name in names if not OPTIMISATIONS[name].beside_engines)


def check_device(
    names: Sequence[str], device: DeviceKind, capability: tuple[int, int] | None = None
) -> None:
    """Check that optimisations can be used on a device, for any pipeline.

    Args:
        names: Their names.
        device: The kind of device.
        capability: Compute capability of a CUDA device; ``None`` is unknown and refuses nothing.

    Raises:
        ConfigurationError: One cannot; the message says why and where it can.
    """
    for one in (OPTIMISATIONS[name] for name in names):
        if device in one.refusals:
            others = ", ".join(kind for kind in ALL_DEVICES if kind not in one.refusals)
            raise ConfigurationError(
                f"{one.name} cannot be used on {device}: {one.refusals[device]}",
                got="+".join(names),
                expected=f"one of {others}",
                hint=f"leave {one.name} out",
            )
        least = one.capability
        if least is not None and capability is not None and capability < least:
            raise ConfigurationError(
                f"{one.name} cannot be used on this GPU: it has no instructions for it",
                got=f"compute capability {_format_capability(capability)}",
                expected=f"{_format_capability(least)} or newer",
                hint=f"leave {one.name} out, or use int8_weights",
            )


def find_c_library() -> str:
    """Name the C library of this process, such as ``glibc``; the system where it does not say."""
    return platform.libc_ver()[0] or platform.system()


def check_library(names: Sequence[str], library: str) -> None:
    """Check that optimisations can be used with a C library.

    Args:
        names: Their names.
        library: The C library, as `find_c_library` names it.

    Raises:
        ConfigurationError: One is a feature of another C library.
    """
    for one in (OPTIMISATIONS[name] for name in names):
        if one.library not in (None, library):
            raise ConfigurationError(
                f"{one.name} cannot be used here: it is a feature of {one.library}",
                got=f"the C library of {library}" if library == platform.system() else library,
                expected=f"Linux with {one.library}",
                hint=f"leave {one.name} out",
            )


def refuse_unusable(
    named: Iterable[Sequence[str]],
    describe_device: Callable[[], DeviceInfo],
    *,
    is_here: bool = True,
) -> None:
    """Check sets of optimisations that were named, before anything is loaded.

    Args:
        named: The sets.
        describe_device: Looks at the device, which takes a process seconds; called at most once,
            and not where no set depends on it.
        is_here: Whether the workers run on this machine; another machine's C library is unknown
            here, and its worker refuses by itself.

    Raises:
        ConfigurationError: One cannot be used on the device, or with the C library here.
    """
    dependent = [names for names in named if depends_on_device(names)]
    if dependent:
        device = describe_device()
        for names in dependent:
            check_device(names, device.kind, device.compute_capability)
            if is_here:
                check_library(names, find_c_library())


def refuse_unsuited(named: Iterable[Sequence[str]], denoiser: str | None) -> None:
    """Check sets of optimisations against the class of the network that denoises. Pure.

    Args:
        named: The sets.
        denoiser: The class; ``None`` is unknown and refuses nothing.

    Raises:
        ConfigurationError: No network of this class can have one of them.
    """
    chosen = [OPTIMISATIONS[name] for names in named for name in names if name in OPTIMISATIONS]
    for one in chosen:
        if denoiser is not None and not one.may_suit(denoiser):
            raise ConfigurationError(
                f"{one.name} cannot be used with this model",
                got=f"a {denoiser}",
                expected="a transformer" if one.denoisers is None else " or ".join(one.denoisers),
                hint=f"leave {one.name} out",
            )


def depends_on_denoiser(names: Sequence[str]) -> bool:
    """Tell whether any of these optimisations is refused with some class of network."""
    chosen = [OPTIMISATIONS[name] for name in names if name in OPTIMISATIONS]
    return any(one.transformers_only or one.denoisers is not None for one in chosen)


def depends_on_device(names: Sequence[str]) -> bool:
    """Tell whether any of these optimisations is refused on some device."""
    chosen = [OPTIMISATIONS[name] for name in names if name in OPTIMISATIONS]
    return any(one.refusals or one.capability is not None for one in chosen)


def check_supported(
    names: Sequence[str],
    device: DeviceKind,
    family: str,
    pipeline: str,
    capability: tuple[int, int] | None = None,
) -> None:
    """Check that optimisations can be used on a device and with a pipeline.

    Args:
        names: Their names.
        device: The kind of device.
        family: The pipeline's family, ``whole`` where it cannot be divided.
        pipeline: The pipeline's class, for the message.
        capability: Compute capability of a CUDA device; ``None`` is unknown and refuses nothing.

    Raises:
        ConfigurationError: One cannot; the message says why and where it can.
    """
    check_device(names, device, capability)
    for one in (OPTIMISATIONS[name] for name in names):
        if one.families is not None and family not in one.families:
            raise ConfigurationError(
                f"{one.name} cannot be used with {pipeline}: it is written for other pipelines",
                got=f"{settings.OPTIMISATIONS} {'+'.join(names)}",
                expected=f"a pipeline of the families {', '.join(one.families)}",
                hint=f"leave {one.name} out",
            )


def _format_capability(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def count_images_per_call(names: Sequence[str]) -> int:
    """Return how many images go through the pipeline together."""
    return max((OPTIMISATIONS[name].images_per_call for name in names), default=1)


def find_cache_interval(names: Sequence[str]) -> int | None:
    """Return the interval of step caching; ``None`` where it is off."""
    intervals = (OPTIMISATIONS[name].cache_interval for name in names)
    return next((interval for interval in intervals if interval is not None), None)


def choose_ssim_floor(names: Sequence[str]) -> float:
    """Return the floors of images beside the plain pipeline's of the same precision."""
    approximate = any(OPTIMISATIONS[name].sort == "approximate" for name in names)
    return APPROXIMATE_SSIM if approximate else EXACT_SSIM


def is_recorded(names: Sequence[str]) -> bool:
    """Tell whether the host replays a recording instead of calling operators."""
    return bool({"cuda_graphs", "loop_graph"} & set(names))
