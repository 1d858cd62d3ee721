"""Steps and guidance that the user left open: whose they are, and whether they fit what draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.models.loader import ResolvedModel
from sdperf.models.sampling import OWN_GUIDANCE
from sdperf.record.execution import draws_own_model, find_program
from sdperf.record.workload import ProgramFacts, Workload
from sdperf.run.messages import WorkerReport
from sdperf.settings import GUIDANCE, STEPS
from sdperf.units import format_quantity

_TYPED: Final = {
    "num_inference_steps": ("steps", f"{STEPS} N"),
    "guidance_scale": ("guidance", f"{GUIDANCE} X (or {OWN_GUIDANCE})"),
}
"""Word and option of each field that may be left open."""


def leave_to_program(
    workload: Workload, program: ProgramFacts | None, left_open: Collection[str]
) -> Workload:
    """Return a workload without a guidance that nobody asked for and nobody can be told. Pure.

    Args:
        workload: What is generated, with the model's guidance where the user left it open.
        program: What draws; ``None`` is a pipeline of diffusers.
        left_open: Fields of the workload that the user left open.
    """
    if program is None or not draws_own_model(program) or "guidance" in program.accepts:
        return workload
    if "guidance_scale" not in left_open:
        return workload
    return dataclasses.replace(workload, guidance_scale=None)


def check_sampling(
    report: WorkerReport, workload: Workload, model: ResolvedModel, left_open: Collection[str]
) -> None:
    """Refuse to measure another model or class with the model's own steps and guidance.

    A program that draws with the model that it is told has the model's.

    Args:
        report: The worker's report.
        workload: What is generated.
        model: The model whose steps and guidance were taken.
        left_open: Fields of the workload that the user left open.

    Raises:
        ConfigurationError: The user has to say how it is sampled.
    """
    if report.is_the_models:
        return
    program = find_program(report.engine)
    if program is None:
        who = f"the subject returned a {report.pipeline}"
    elif draws_own_model(program):
        who = f"{program.name} draws with a model of its own"
        if "guidance" not in program.accepts:
            left_open = [name for name in left_open if name != "guidance_scale"]
    else:
        return
    taken = [words for name, words in _TYPED.items() if name in left_open]
    if not taken:
        return
    names = [name for name, _ in taken]
    guidance = workload.guidance_scale
    got = {
        "steps": format_quantity(workload.num_inference_steps, "step"),
        "guidance": f"guidance {OWN_GUIDANCE if guidance is None else f'{guidance:g}'}",
    }
    verb = "were" if names == ["steps"] or len(names) > 1 else "was"
    whose = "that" if names == ["guidance"] else "those"
    are = "is" if names == ["guidance"] else "are"
    raise ConfigurationError(
        f"{who}, and {' and '.join(names)} {verb} left open: "
        f"{whose} of {model.name} {are} for a {model.pipeline_class}",
        got=", ".join(got[name] for name in names),
        hint=f"say how it is sampled: {' '.join(option for _, option in taken)}",
    )
