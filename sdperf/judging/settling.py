"""The command that would settle an open question of speed: `sdperf ab` of the two sides. Pure."""

from __future__ import annotations

import shlex
from dataclasses import replace

from sdperf.models.presets import PRESETS
from sdperf.record.measurement import Measurement
from sdperf.record.workload import EMBEDDED, TORCH, Variant, Workload

SHORT_COMMIT = 12
_DIRTY = "-dirty"
_BATCH = 4
"""Images of a throughput round that ``sdperf ab`` takes by itself."""


def suggest_ab(saved: Measurement, current: Measurement, *, is_here: bool = False) -> str | None:
    """Return the command that measures two sessions' code against each other in one sitting.

    Args:
        saved: What was compared with.
        current: What was judged.
        is_here: Whether the current code is the working tree, so that ``.`` names it.

    Returns:
        The command, with what has to be known about it in brackets; ``None`` where neither a commit
        nor a package differs as far as is known, so that there is nothing to hold against.
    """
    before, now = saved.environment.commit, current.environment.commit
    packages = _list_changed_packages(saved, current)
    revisions = _name_revisions(before, now, is_here=is_here)
    environments = ["--python", "OLD/bin/python", "--python", "NEW/bin/python"]
    notes = []
    if revisions is not None:
        sides = revisions
        if before is not None and before.endswith(_DIRTY):
            notes.append("the baseline had uncommitted changes, which are lost")
        if packages:
            sides += environments
    elif packages:
        sides = environments
    else:
        return None
    if packages:
        notes.append(f"what differs: {', '.join(packages[:3])}")
    command = shlex.join(["sdperf", "ab", *sides, *_describe_case(current)])
    return f"{command} ({'; '.join(notes)})" if notes else command


def _name_revisions(before: str | None, now: str | None, *, is_here: bool) -> list[str] | None:
    """Return both revisions as they are typed; ``None`` where they are unknown or the same."""
    if before is None or now is None or (before == now and not now.endswith(_DIRTY)):
        return None
    head = "." if is_here or now.endswith(_DIRTY) else now[:SHORT_COMMIT]
    return [before.removesuffix(_DIRTY)[:SHORT_COMMIT], head]


def _list_changed_packages(saved: Measurement, current: Measurement) -> list[str]:
    before, now = saved.environment.packages, current.environment.packages
    return [
        f"{name} {before.get(name, 'none')} against {now.get(name, 'none')}"
        for name in sorted({*before, *now} - {"sdperf"})
        if before.get(name) != now.get(name)
    ]


def _describe_case(measured: Measurement) -> list[str]:
    """Return the options that make ``sdperf ab`` measure this very case."""
    variant, workload = measured.variant, measured.workload
    plain = replace(variant, optimisations=(), engine=TORCH, threads=None)
    name = variant.precision if measured.stage is not None else plain.id
    case = f"{measured.kind}[{name}{'' if measured.stage is None else f'-{measured.stage}'}]"
    words = ["--cases", case]
    if workload.model != EMBEDDED:
        words += ["--model", workload.model]
    if measured.subject is not None:
        words += ["--subject", measured.subject]
    if measured.kind == "throughput" and measured.images_per_round != _BATCH:
        words += ["--batch", str(measured.images_per_round)]
    settings = [*_list_variant_settings(variant), *_list_settings(workload)]
    return [*words, "--both", ",".join(settings)] if settings else words


def _list_variant_settings(variant: Variant) -> list[str]:
    """Name what the case's name in the matrix of ``sdperf ab`` does not say."""
    settings = []
    if variant.engine != TORCH:
        settings.append(f"engine={variant.engine}")
    if variant.threads is not None:
        settings.append(f"threads={variant.threads}")
    if variant.optimisations:
        settings.append(f"optimisations={'+'.join(variant.optimisations)}")
    return settings


def _list_settings(workload: Workload) -> list[str]:
    """Name what differs from the preset of the model's name; without one, steps and guidance."""
    preset = PRESETS.get(workload.model)
    settings = []
    if preset is None or workload.num_inference_steps != preset.num_inference_steps:
        settings.append(f"steps={workload.num_inference_steps}")
    own_guidance = None if preset is None else preset.guidance_scale
    if workload.guidance_scale is not None and workload.guidance_scale != own_guidance:
        settings.append(f"guidance={workload.guidance_scale:g}")
    if workload.seed:
        settings.append(f"seed={workload.seed}")
    if workload.width is not None and workload.height is not None:
        settings.append(f"size={workload.width}x{workload.height}")
    if workload.scheduler is not None:
        settings.append(f"scheduler={workload.scheduler}")
    return settings
