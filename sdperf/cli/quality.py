"""``sdperf quality calibrate``: measures the noise that floors must allow, and stores it."""

from __future__ import annotations

import argparse
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.cli.shared.options import (
    COUNT,
    add_option,
    add_picture,
    add_setting,
    read_picture_asked,
)
from sdperf.errors import ConfigurationError
from sdperf.judging.floors import derive_floors
from sdperf.models.sampling import choose_sampling
from sdperf.outputs import check_result
from sdperf.record.floors import Floors
from sdperf.record.workload import (
    DEFAULT_PROMPTS,
    EMBEDDED,
    PRECISIONS,
    InputPicture,
    Precision,
    Workload,
    read_prompts,
)
from sdperf.report.text.calibration import format_floors, format_ladder_header, format_rung
from sdperf.settings import (
    DEVICE,
    GUIDANCE,
    LORA,
    MODEL,
    NEGATIVE_PROMPT,
    PRECISION,
    PROMPTS,
    SCHEDULER,
    SEED,
    SIZE,
    STEPS,
    TIMEOUT,
    kinds,
)
from sdperf.store.references import (
    LADDER_NAME,
    REFERENCES_FOLDER,
    locate_references,
    write_ladder,
    write_references,
)
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.device import DeviceInfo

FEWEST_IMAGES = 8

_PRECISIONS: Final = PRECISION.taking(
    kinds.listed(PRECISION.kind), "precisions to calibrate beside fp32"
)

_DESCRIPTION = """\
Draw the reference images of a model, generate them again under every legal change that this
machine can make (the same again, a fresh process, other threads, other kernels, a batch, other
precisions), set each floor a margin below the worst of them, and store the floors with the
evidence.
"""
_EPILOG = """\
The references and floors hold for the settings given here: give pytest the same ones. They are
read from benchmarks/references/<model>/<device>/, from <device>-<task>/ where images start from a
picture; commit that folder beside your baselines.

examples:
  sdperf quality calibrate --model ./my-model
  sdperf quality calibrate --model stabilityai/sd-turbo --device mps --seeds 3
  sdperf quality calibrate --model ./my-model --task image-to-image --strength 0.6
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "quality",
        help="measure how much noise the image gates must bear",
        description="Measure the floors of the image gates.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    calibrate = actions.add_parser(
        "calibrate",
        help="draw reference images, measure legal noise, derive and store the floors",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_setting(calibrate, MODEL, default=EMBEDDED)
    add_setting(calibrate, DEVICE, default="auto")
    add_setting(calibrate, _PRECISIONS)
    add_option(calibrate, "--seeds", COUNT, "seeds for each prompt", default=1)
    add_setting(calibrate, SEED, default=0)
    add_setting(calibrate, NEGATIVE_PROMPT, default="")
    for setting in (PROMPTS, STEPS, GUIDANCE, SIZE, SCHEDULER, LORA):
        add_setting(calibrate, setting)
    add_picture(calibrate)
    add_setting(calibrate, TIMEOUT, default=600.0)
    calibrate.add_argument(
        "--out", type=Path, default=Path(), help="root folder of the benchmarks (here)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, which is the only action."""
    references = arguments.out / REFERENCES_FOLDER
    check_result("--out", references, is_folder=True, undone="nothing was measured")
    from sdperf.models.tasks.choosing import choose_picture, settle_workload

    chosen = choose_picture(arguments.model, read_picture_asked(arguments), is_subject=False)
    workload = _make_workload(arguments, chosen.picture)
    count = max(len(workload.prompts) * arguments.seeds, FEWEST_IMAGES)
    from sdperf.models.loader import resolve_model
    from sdperf.run.memory import choose_widest, find_room
    from sdperf.run.pool import WorkerPool
    from sdperf.run.quality.calibration import Calibrator, list_legal_settings
    from sdperf.run.suite import count_cpu_threads

    model = resolve_model(workload.model, lora=workload.lora, pipeline_class=chosen.pipeline_class)
    workload = settle_workload(workload, model.pipeline_class)
    pool = WorkerPool(timeout_s=arguments.timeout)
    threads = count_cpu_threads()
    try:
        device = pool.describe_device(arguments.device)
        environment = pool.collect_environment(device)
        room = find_room(device, environment.ram_bytes)
        reference = choose_widest(model.weights, room, device.native_precisions)
        precisions = _choose_precisions(arguments.precision, device, reference)
        if reference != "fp32" and room is not None:
            print(f"reference: {reference}; fp32 does not fit {room.describe()}", file=sys.stderr)
        calibrator = Calibrator(
            pool=pool,
            model=model,
            device=arguments.device,
            workload=workload,
            pictures=chosen.files,
            requests=tuple(workload.image(index) for index in range(count)),
            threads=threads,
            reference=reference,
        )
        print(
            f"drawing {format_quantity(count, 'image')} on {device.kind} ({device.name}) ...",
            file=sys.stderr,
        )
        pngs = calibrator.draw_plain()
        print(format_ladder_header(), flush=True)
        rungs = []
        for setting in list_legal_settings(device.kind, threads, precisions):
            rungs.append(calibrator.measure(setting))
            print(format_rung(rungs[-1]), flush=True)
    finally:
        pool.close()
    folder = locate_references(arguments.out, model.model_hash, device.kind, workload.task)
    made_with = describe_making("sdperf quality calibrate", device, threads) | {
        "fingerprint": environment.fingerprint()
    }
    floors: dict[str, Floors] = {
        precision: derive_floors(rungs, precision, LADDER_NAME, reference)
        for precision in precisions
    }
    try:
        write_references(
            folder,
            workload=workload,
            model_hash=model.model_hash,
            images=list(zip(calibrator.requests, pngs, strict=True)),
            floors=floors,
            made_with=made_with,
            reference_precision=reference,
        )
        write_ladder(folder / LADDER_NAME, rungs, made_with | {"model_hash": model.model_hash})
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written", got=error.strerror) from error
    print()
    for line in format_floors(floors):
        print(line)
    drawn = format_quantity(count, "reference")
    drawn += "" if reference == "fp32" else f" in {reference}"
    print(f"wrote {folder}: {drawn}, floors, evidence in {LADDER_NAME}")
    return 0


def describe_making(command: str, device: DeviceInfo, threads: int) -> dict[str, str]:
    """Describe what references were made with, to keep it beside them."""
    packages = {}
    for name in ("torch", "diffusers", "transformers"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "unknown"
    return packages | {
        "command": command,
        "machine": platform.machine(),
        "device": f"{device.kind} ({device.name})",
        "threads": str(threads),
    }


def _make_workload(arguments: argparse.Namespace, picture: InputPicture | None) -> Workload:
    sampling = choose_sampling(arguments.model, arguments.steps, arguments.guidance)
    width, height = arguments.size or (None, None)
    return Workload(
        model=arguments.model,
        prompts=(DEFAULT_PROMPTS if arguments.prompts is None else read_prompts(arguments.prompts)),
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        negative_prompt=arguments.negative_prompt,
        seed=arguments.seed,
        height=height,
        width=width,
        scheduler=arguments.scheduler,
        picture=picture,
        lora=arguments.lora or "",
    )


def _choose_precisions(
    asked: tuple[str, ...] | None, device: DeviceInfo, reference: Precision
) -> tuple[Precision, ...]:
    """Return the precisions to calibrate; that of the reference is always the first."""
    wanted = device.native_precisions if asked is None else asked
    others = (one for one in PRECISIONS if one in wanted and one not in ("fp32", reference))
    return (reference, *others)
