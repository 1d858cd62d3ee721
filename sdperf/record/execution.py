"""Compares what a worker executed with what it was asked for; a difference is BROKEN. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdperf.settings import SCHEDULER
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.record.measurement import EngineUse
    from sdperf.record.workload import ProgramFacts


@dataclass(frozen=True)
class AskedExecution:
    """The request, as far as a worker can count it; ``None`` is not compared.

    Attributes:
        steps: Steps that the scheduler plans for the requested steps: Heun's scheduler takes about
            twice as many.
        fewest_steps: The requested steps minus those that the strength leaves out; used where the
            plan is unknown.
        width: Pixels.
        height: Pixels.
        guided: Whether classifier-free guidance is on.
        precision: Number format of the denoiser's weights.
        scheduler: Class name of the scheduler.
        images_per_call: How many images go through the denoiser together.
        strength: Share of the steps that are drawn from a picture; ``None`` draws all of them.
        is_models_scheduler: Whether no scheduler was named, so that the model's own is expected.
    """

    steps: int | None = None
    fewest_steps: int | None = None
    width: int | None = None
    height: int | None = None
    guided: bool | None = None
    precision: str | None = None
    scheduler: str | None = None
    images_per_call: int | None = None
    strength: float | None = None
    is_models_scheduler: bool = False


@dataclass(frozen=True)
class Execution:
    """What the first whole round of a worker executed, counted while it ran; ``None`` is unknown.

    Attributes:
        steps: Steps that the scheduler took for one call of the pipeline.
        denoiser_calls: Calls of the denoiser in one call of the pipeline.
        denoiser_batch: Largest batch of these calls; guidance doubles it.
        guided: Whether the denoiser saw each image with and without its prompt.
        guidance_argument: The argument of the pipeline's call that took the guidance scale.
        picture_arguments: The arguments that took input picture, mask, strength and size; empty
            where it drew from the prompt alone.
        precision: Number format of most of the denoiser's floating-point weights.
        scheduler: Class name of the pipeline's scheduler after the round.
        width: Pixels of the delivered picture.
        height: Pixels of the delivered picture.
        optimisations: Whether each switched-on optimisation took effect, by name; without those
            whose effect cannot be checked.
    """

    steps: int | None = None
    denoiser_calls: int | None = None
    denoiser_batch: int | None = None
    guided: bool | None = None
    precision: str | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    optimisations: Mapping[str, bool] = field(default_factory=dict)
    guidance_argument: str | None = None
    picture_arguments: tuple[str, ...] = ()


def explain_differences(asked: AskedExecution, executed: Execution) -> tuple[str, ...]:
    """Name each difference between execution and request, with both values.

    A value that is unknown or was not requested is not a difference.
    """
    differences = []
    if None not in (asked.steps, executed.steps) and asked.steps != executed.steps:
        planned = f" ({asked.steps} of this scheduler)" if asked.steps != asked.fewest_steps else ""
        if asked.strength is not None:
            planned = f" at strength {asked.strength:g}{planned}"
        least = asked.fewest_steps or asked.steps or 0
        differences.append(
            f"asked for {format_quantity(least, 'step')}{planned}, executed {executed.steps}"
        )
    elif (
        asked.steps is None
        and asked.fewest_steps is not None
        and executed.steps is not None
        and executed.steps < asked.fewest_steps
    ):
        differences.append(
            f"asked for {format_quantity(asked.fewest_steps, 'step')} or more, executed "
            f"{executed.steps}"
        )
    size = explain_size(asked.width, asked.height, executed.width, executed.height)
    if size is not None:
        differences.append(size)
    if None not in (asked.guided, executed.guided) and asked.guided != executed.guided:
        differences.append(
            f"asked for guidance {_switch(asked.guided)}, executed with guidance "
            f"{_switch(executed.guided)} (denoiser's batch: {executed.denoiser_batch})"
        )
    own = f", the model's own, as {SCHEDULER} named none" if asked.is_models_scheduler else ""
    for what, wanted, found, why in (
        ("denoiser's weights in", asked.precision, executed.precision, ""),
        ("the scheduler", asked.scheduler, executed.scheduler, own),
    ):
        if wanted is not None and found is not None and wanted != found:
            differences.append(f"asked for {what} {wanted}{why}, executed {found}")
    without = sorted(name for name, took in executed.optimisations.items() if not took)
    if without:
        differences.append(f"asked for {', '.join(without)}, executed without")
    return tuple(differences)


def explain_size(
    asked_width: int | None, asked_height: int | None, width: int | None, height: int | None
) -> str | None:
    """Say that a picture has another size than was requested; ``None`` where it has that size.

    Args:
        asked_width: Requested pixels; ``None`` accepts any.
        asked_height: Requested pixels; ``None`` accepts any.
        width: Pixels that were drawn; ``None`` is unknown.
        height: Pixels that were drawn; ``None`` is unknown.
    """
    if width is None or height is None:
        return None
    wanted = (asked_width or width, asked_height or height)
    if wanted == (width, height):
        return None
    return f"asked for {wanted[0]} x {wanted[1]} px, drawn {width} x {height} px"


def _switch(is_on: bool | None) -> str:
    return "on" if is_on else "off"


def find_program(use: EngineUse | None) -> ProgramFacts | None:
    """Return the facts of the program that draws; ``None`` where diffusers does."""
    return None if use is None else use.program


def draws_own_model(program: ProgramFacts | None) -> bool:
    """Tell whether a program draws with a model of its own, whatever model it is told."""
    return program is not None and "model" not in program.accepts


def name_drawn_model(model: str, program: ProgramFacts | None) -> str:
    """Name the model that draws.

    Args:
        model: The model of the workload.
        program: The program that draws; ``None`` is a pipeline of diffusers.
    """
    return program.model if program is not None and draws_own_model(program) else model
