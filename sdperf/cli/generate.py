"""``sdperf generate``: one picture, the first thing a newcomer tries."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sdperf.device import DEVICE_CHOICES
from sdperf.errors import ConfigurationError, SdperfError
from sdperf.units import format_seconds
from sdperf.workload import EMBEDDED, PRECISIONS, Workload, preset_for

_EPILOG = """\
examples:
  sdperf generate "red apple" -o apple.png
  sdperf generate "a blue car" -o car.png --seed 3 --steps 30
  sdperf generate "a lighthouse at dusk" -o l.png --model stabilityai/sd-turbo --device mps
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
    parser.add_argument(
        "--model", default=EMBEDDED, help="embedded, a diffusers folder or a hub id"
    )
    parser.add_argument("--device", default="auto", choices=DEVICE_CHOICES)
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS)
    parser.add_argument("--seed", type=int, default=0, help="seed of the starting noise")
    parser.add_argument("--steps", type=int, help="denoising steps (the model's preset)")
    parser.add_argument("--guidance", type=float, help="guidance scale (the model's preset)")


def run(arguments: argparse.Namespace) -> int:
    """Generate the picture, in this process, and write it."""
    output: Path = arguments.output
    if output.suffix.lower() != ".png":
        raise ConfigurationError("the output is a PNG", got=str(output), expected="a name in .png")
    if not output.resolve().parent.is_dir():
        raise ConfigurationError(
            "the output's folder does not exist",
            got=str(output.parent),
            hint=f"mkdir -p {output.parent}",
        )
    preset = preset_for(arguments.model)
    workload = Workload(
        model=arguments.model,
        prompts=(arguments.prompt,),
        seed=arguments.seed,
        num_inference_steps=(
            preset.num_inference_steps if arguments.steps is None else arguments.steps
        ),
        guidance_scale=(
            preset.guidance_scale if arguments.guidance is None else arguments.guidance
        ),
    )
    from sdperf.models.loader import resolve_model

    model = resolve_model(workload.model)
    print(f"loading {workload.model} ...", file=sys.stderr)
    from sdperf.run import worker
    from sdperf.run.messages import RoundRequest, WorkerSpec
    from sdperf.run.suite import count_cpu_threads
    from sdperf.store.files import write_atomically

    report = worker.load(WorkerSpec(model, arguments.precision, arguments.device))
    images, threads = (workload.image(0),), count_cpu_threads()
    result = worker.run_round(RoundRequest(workload, images, "sync", threads))
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
    print(
        f"{output}: {arguments.prompt!r} in {format_seconds(result.duration_s)} on {device.kind} "
        f"(first call, {workload.num_inference_steps} steps; loading took "
        f"{format_seconds(report.load_s)})"
    )
    return 0
