"""``sdperf generate``: one picture, the first thing a newcomer tries."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sdperf.cli.shared.measuring import refuse_unsuited_names
from sdperf.cli.shared.options import add_picture, add_setting, read_picture_asked
from sdperf.errors import ConfigurationError, EngineError, SdperfError
from sdperf.models.sampling import choose_sampling
from sdperf.outputs import check_result
from sdperf.record.workload import EMBEDDED, TORCH, Workload
from sdperf.settings import (
    DEVICE,
    ENGINE,
    GUIDANCE,
    MODEL,
    OWN_GUIDANCE,
    PRECISION,
    PROFILE,
    SEED,
    SIZE,
    STEPS,
)
from sdperf.shell import join_command
from sdperf.store.profile import Profile, read_profile
from sdperf.units import format_quantity, format_seconds

if TYPE_CHECKING:
    from sdperf.device import DeviceKind

_EPILOG = """\
examples:
  sdperf generate "red apple" -o apple.png
  sdperf generate "a blue car" -o car.png --seed 3 --steps 30
  sdperf generate "a lighthouse at dusk" -o l.png --model stabilityai/sd-turbo --device mps
  sdperf generate "at night" -o night.png --model ./my-model --input-image day.jpg --strength 0.6
  sdperf generate "red apple" -o fast.png --profile sdperf-tuned.toml
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "generate",
        help="draw one picture and say how long it took",
        description="Draw one picture from a prompt. The embedded model knows emoji-like things.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", help="what to draw, such as 'red apple'")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the PNG to write")
    for setting in (MODEL, STEPS, GUIDANCE, SIZE, PROFILE):
        add_setting(parser, setting)
    add_setting(parser, DEVICE, default="auto")
    add_setting(parser, PRECISION, shown="fp32, unless a profile says else")
    add_setting(parser, SEED, default=0)
    add_picture(parser)


def run(arguments: argparse.Namespace) -> int:
    """Generate the picture, in this process, and write it."""
    output: Path = arguments.output
    if output.suffix.lower() != ".png":
        raise ConfigurationError("the output is a PNG", got=str(output), expected="a name in .png")
    if not output.parent.exists():  # a link is replaced, wherever it leads
        raise ConfigurationError(
            "the output's folder does not exist",
            got=str(output.parent),
            hint=join_command(["mkdir", "-p", "--", str(output.parent)]),
        )
    check_result("-o", output, undone="nothing was drawn")
    from sdperf.models.tasks.choosing import choose_picture, settle_workload

    profile = choose_profile(arguments)
    chosen = choose_picture(profile.model, read_picture_asked(arguments), is_subject=False)
    if chosen.picture is not None and profile.engine != TORCH:
        raise ConfigurationError(
            f"the engine {profile.engine} of {arguments.profile} draws from the prompt alone",
            got=chosen.picture.describe(),
            hint="leave the profile out, or the picture",
        )
    workload = Workload(
        model=profile.model,
        prompts=(arguments.prompt,),
        seed=arguments.seed,
        num_inference_steps=profile.num_inference_steps,
        guidance_scale=profile.guidance_scale,
        height=profile.height,
        width=profile.width,
        scheduler=profile.scheduler,
        picture=chosen.picture,
    )
    from sdperf.engines.requirements import require_installed
    from sdperf.models.loader import resolve_model
    from sdperf.pipeline.optimisations.catalogue import refuse_unusable
    from sdperf.run import worker

    kind: DeviceKind = "cpu" if arguments.device == "auto" else arguments.device
    require_installed([profile.engine], profile.optimisations, kind)
    refuse_unsuited_names([profile.optimisations], workload.model, None)
    refuse_unusable([profile.optimisations], lambda: worker.describe_device(arguments.device))
    model = resolve_model(workload.model, pipeline_class=chosen.pipeline_class)
    workload = settle_workload(workload, model.pipeline_class)
    from sdperf.run.messages import EngineShape, RoundRequest, WorkerSpec
    from sdperf.run.suite import count_cpu_threads
    from sdperf.store.files import write_atomically

    spec = WorkerSpec(
        model,
        profile.precision,
        arguments.device,
        optimisations=profile.optimisations,
        engine=profile.engine,
        shape=EngineShape.of(workload),
        pictures=chosen.files,
    )
    try:
        if spec.engine != TORCH:
            from sdperf.run.worker.hosting import open_engine

            open_engine(spec, worker.describe_device(arguments.device).kind)
        print(f"loading {workload.model} ...", file=sys.stderr)
        report = worker.load(spec)
    except (ConfigurationError, EngineError) as error:
        raise _name_profile(error, arguments.profile) from error
    images, threads = (workload.image(0),), count_cpu_threads()
    result = worker.run_round(RoundRequest(workload, images, profile.mode, threads))
    delivered = result.images[0]
    if delivered.nonfinite:
        raise SdperfError(
            "the picture holds NaN or infinity", hint="try --precision fp32 or another device"
        )
    try:
        write_atomically(output, delivered.png)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written", got=error.strerror) from error
    device = report.device
    by, converting, use = "", "", report.engine
    if use is not None:
        by = f" by {use.name}"
        if use.conversion_s is not None and not use.was_cached:
            converting = f", converting for {use.name} {format_seconds(use.conversion_s)}"
    print(
        f"{output}: {arguments.prompt!r} in {format_seconds(result.duration_s)} on "
        f"{device.kind}{by} "
        f"(first call, {format_quantity(workload.num_inference_steps, 'step')}; loading took "
        f"{format_seconds(report.load_s)}{converting})"
    )
    return 0


def _name_profile(error: SdperfError, profile: Path | None) -> SdperfError:
    """Return an error with what to do about an engine of a profile; no option chooses one here."""
    if profile is None or error.hint is None or str(ENGINE) not in error.hint:
        return error
    hint = f"leave {profile} out, or write another engine into it"
    return type(error)(error.what, got=error.got, expected=error.expected, hint=hint)


def choose_profile(arguments: argparse.Namespace) -> Profile:
    """Return the settings of a profile, or the model's preset; typed settings override both.

    Raises:
        ConfigurationError: The profile cannot be read.
    """
    if arguments.profile is not None:
        profile = read_profile(arguments.profile)
    else:
        model = arguments.model or EMBEDDED
        chosen = choose_sampling(model, arguments.steps, arguments.guidance)
        profile = Profile(model, chosen.num_inference_steps, chosen.guidance_scale)
    typed = {
        "model": arguments.model,
        "num_inference_steps": arguments.steps,
        "guidance_scale": arguments.guidance,
        "precision": arguments.precision,
    }
    if arguments.size is not None:
        typed["width"], typed["height"] = arguments.size
    changes = {name: value for name, value in typed.items() if value is not None}
    if arguments.guidance == OWN_GUIDANCE:
        changes["guidance_scale"] = None
    return dataclasses.replace(profile, **changes)
