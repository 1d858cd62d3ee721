"""Record a grid of real settings, and replay studies on it.

python -m evidence.tune_grid grid.json --device cpu          records; goes on where it was stopped
python -m evidence.tune_grid part-0.json --part 0/4          a quarter of it, for four at once
python -m evidence.tune_grid grid.json --merge part-*.json   puts the parts together
python -m evidence.tune_grid grid.json --replay --json replay.json --markdown replay.md
python -m evidence.tune_grid grid.json --replay --engines onnx=1.62,openvino=2.45   with engines
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
from pathlib import Path

from evidence.tune_grid.engines import add_engines, parse_factors
from evidence.tune_grid.grid import Grid, merge, read, record, write
from evidence.tune_grid.replay import LOOKS, Curve, mean_at, replay
from sdperf.device import DEVICE_CHOICES
from sdperf.measure.environment import collect_environment
from sdperf.models.loader import resolve_model
from sdperf.run.interruption import ended_like_interrupted
from sdperf.run.suite import count_cpu_threads
from sdperf.store.files import write_atomically
from sdperf.tune.question.asking import Asked, make_question
from sdperf.tune.trial.rig import LiveRig

SEARCH = {
    "steps": ["4", "6", "8", "10", "12", "15", "20"],
    "guidance": ["1", "2", "3", "4"],
    "batch": ["1", "2"],
    "precision": ["fp32"],
    "scheduler": [
        "auto", "UniPCMultistepScheduler", "EulerDiscreteScheduler", "DDIMScheduler",
    ],
    "mode": ["sync"],
    "workers": ["1"],
    "engine": ["torch"],
    "optimisations": ["device_loop", "step_cache2"],
}  # fmt: skip
TPE_TRIALS = 50
RANDOM_TRIALS = 150


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.tune_grid",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("grid", type=Path, help="where the grid is kept")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--subject", help="module:function that makes the pipeline")
    parser.add_argument("--device", choices=DEVICE_CHOICES, default="cpu")
    parser.add_argument("--size", default="64x64", help="WxH in pixels (64x64)")
    parser.add_argument("--steps", type=int, help="full steps (the model's preset)")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--search", action="append", default=[], metavar="KEY=A|B")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop recording after so long")
    parser.add_argument("--part", type=parse_part, default=(0, 1), metavar="K/N")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="PART")
    parser.add_argument("--replay", action="store_true", help="only replay")
    parser.add_argument(
        "--engines",
        type=parse_factors,
        default={},
        metavar="ENGINE=FACTOR,...",
        help="replay as if these were searched too, so many times as fast as torch",
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    if arguments.replay:
        grid = read(arguments.grid)
        show(add_engines(grid, arguments.engines) if arguments.engines else grid, arguments)
    elif arguments.merge:
        whole = merge([read(path) for path in arguments.merge])
        write(arguments.grid, whole)
        print(
            f"{len(whole.cells)} settings, {'whole' if whole.is_whole() else 'parts are missing'}"
        )
    else:
        with ended_like_interrupted():
            record_grid(arguments)


def parse_part(text: str) -> tuple[int, int]:
    """Read ``K/N``, counted from 0."""
    found = re.fullmatch(r"([0-9]{1,4})/([1-9][0-9]{0,3})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no part such as 0/4 or 3/4")
    return int(found[1]), int(found[2])


def record_grid(arguments: argparse.Namespace) -> None:
    width, height = map(int, arguments.size.split("x"))
    rig = LiveRig(
        resolve_model(arguments.model), arguments.device, arguments.subject, count_cpu_threads()
    )
    search = dict(SEARCH)
    for text in arguments.search:
        key, _, choices = text.partition("=")
        search[key] = choices.split("|")
    workload = {"model": arguments.model, "width": width, "height": height}
    if arguments.steps is not None:
        workload["num_inference_steps"] = arguments.steps
    asked = Asked(workload=workload, images=arguments.images, search=search)
    began_s = time.monotonic()
    try:
        question, device = make_question(asked, rig, None)
        environment = collect_environment(
            device_kind=device.kind, device_name=device.name, gpu_cores=device.gpu_cores
        )
        grid = Grid(environment.fingerprint(), question)
        if arguments.grid.exists():
            grid = read(arguments.grid)
            if dataclasses.replace(grid, cells=()) != Grid(environment.fingerprint(), question):
                sys.exit(f"{arguments.grid} holds another grid")
        grid = record(
            grid,
            rig,
            arguments.grid,
            lambda: time.monotonic() - began_s < arguments.seconds,
            lambda words: print(words, file=sys.stderr, flush=True),
            arguments.part,
        )
    finally:
        rig.close()
    missing = grid.list_missing(arguments.part)
    print(f"{len(grid.cells)} settings, {'go on: same command' if missing else 'whole'}")


def show(grid: Grid, arguments: argparse.Namespace) -> None:
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    curves = [
        replay(grid, sampler, seed, trials)
        for sampler, trials in (("tpe", TPE_TRIALS), ("random", RANDOM_TRIALS))
        for seed in seeds
    ]
    text = format_markdown(grid, curves)
    print(text)
    if arguments.json is not None:
        document = {
            "machine": grid.machine,
            "settings": len(grid.cells),
            "curves": [dataclasses.asdict(curve) for curve in curves],
        }
        write_atomically(arguments.json, (json.dumps(document, indent=1) + "\n").encode())
    if arguments.markdown is not None:
        write_atomically(arguments.markdown, text.encode())


def format_markdown(grid: Grid, curves: list[Curve]) -> str:
    images = sum(point is not None for point in grid.points().values())
    seeds = sorted({curve.seed for curve in curves})
    tpe = mean_at(curves, "tpe", TPE_TRIALS)
    chance = mean_at(curves, "random", RANDOM_TRIALS)
    lines = [
        f"{len(grid.cells)} settings, of which {images} gave images; on `{grid.machine}`.",
        f"Mean of {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}): TPE at {TPE_TRIALS} trials "
        f"{tpe:.2%} of the grid's whole hypervolume, chance at {RANDOM_TRIALS} {chance:.2%}: "
        f"{'TPE is as good or better' if tpe >= chance else 'TPE is worse'}.",
        "",
        "| trials | TPE | chance |",
        "| --- | --- | --- |",
    ]
    for look in LOOKS:
        cell = f"{mean_at(curves, 'tpe', look):.2%}" if look <= TPE_TRIALS else "-"
        lines.append(f"| {look} | {cell} | {mean_at(curves, 'random', look):.2%} |")
    lines += [
        "",
        "| seed | TPE at 50 | chance at 50 | chance at 150 |",
        "| --- | --- | --- | --- |",
    ]
    for seed in seeds:
        by = {curve.sampler: curve for curve in curves if curve.seed == seed}
        lines.append(
            f"| {seed} | {by['tpe'].at(50):.2%} | {by['random'].at(50):.2%} | "
            f"{by['random'].at(150):.2%} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
