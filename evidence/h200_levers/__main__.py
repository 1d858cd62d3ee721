"""Run a sitting, and print its table."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import evidence.h200_levers as package
from evidence.h200_levers.models import MODELS
from evidence.h200_levers.sides import CACHE_DIT, RECIPE
from evidence.h200_levers.sitting import FIRST_CALL_LIMIT_S, Sitting, write_json

SECOND_SESSION_LIMIT_S: Final = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.h200_levers",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", choices=sorted(MODELS))
    parser.add_argument("--seconds", type=float, default=120, help="for first calls and turns")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument("--device", default="auto", help="as for --sd-device")
    parser.add_argument("--tiny", action="store_true", help="try it with a tiny model of the class")
    parser.add_argument("--sets", help="sets of optimisations, separated by commas")
    parser.add_argument("--turns", type=int, help="so many turns at most; three are the least")
    parser.add_argument("--steps", type=int, help="denoising steps in place of the model's")
    parser.add_argument("--no-recipe", action="store_true", help="leave diffusers' recipe out")
    parser.add_argument("--cache-dit", action="store_true", help="let cache-dit take part")
    parser.add_argument("--kernels", action="store_true", help="profile a picture by its kernels")
    parser.add_argument(
        "--first-call-limit",
        type=float,
        default=FIRST_CALL_LIMIT_S,
        help="seconds after which a set that still compiles is given up",
    )
    parser.add_argument("--no-stream", action="store_true", help="leave the stream out")
    parser.add_argument("--turns-only", action="store_true", help="leave the stages alone")
    parser.add_argument(
        "--second-session",
        action="store_true",
        help="also time the first call of a second process that finds the first one's code",
    )
    parser.add_argument("--first-call-of", help=argparse.SUPPRESS)
    asked = parser.parse_args()

    def save(found: dict[str, Any]) -> None:
        if asked.json is not None:
            write_json(asked.json, found)

    if asked.first_call_of:
        print(json.dumps(_begin_again(asked)))
        return
    model = MODELS[asked.model]
    if asked.steps is not None:
        model = replace(model, steps=asked.steps, note=f"{asked.steps} steps, as asked")
    sets = model.sets if asked.sets is None else tuple(asked.sets.split(","))
    peers = () if asked.no_recipe else (RECIPE,)
    with contextlib.ExitStack() as stack:
        if asked.second_session:
            kept = stack.enter_context(tempfile.TemporaryDirectory(prefix="sdperf-levers-"))
            os.environ["SDPERF_CACHE"] = kept
            sets = (f"{sets[0]}+kept_code", *sets[1:])
        sitting = Sitting(
            asked.model,
            model,
            asked.device,
            is_tiny=asked.tiny,
            save=save,
            first_call_limit_s=asked.first_call_limit,
        )
        sitting.measure(
            asked.seconds,
            sets,
            turns_only=asked.turns_only,
            most_turns=asked.turns,
            peers=(*peers, CACHE_DIT) if asked.cache_dit else peers,
            with_kernels=asked.kernels,
            with_stream=not asked.no_stream,
        )
        if asked.second_session:
            sitting.found["second_session"] = _start_second_session(asked, sets[0])
            save(sitting.found)
    _print_table(sitting.found)


def _begin_again(asked: argparse.Namespace) -> dict[str, Any]:
    """Be the second session: time the first call with the code that the first has kept."""
    import torch

    sitting = Sitting(
        asked.model, MODELS[asked.model], asked.device, is_tiny=asked.tiny, save=lambda _: None
    )
    seconds = sitting.time_first_call(asked.first_call_of)
    counted = torch._dynamo.utils.counters
    caches = {
        name: count
        for kind in ("inductor", "aot_autograd")
        for name, count in counted[kind].items()
        if "cache" in name and isinstance(count, int)
    }
    return {**seconds, "compiler_caches": caches}


def _start_second_session(asked: argparse.Namespace, best: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "evidence.h200_levers", asked.model]
    command += ["--device", asked.device, "--first-call-of", best]
    command += ["--tiny"] if asked.tiny else []
    kept = Path(os.environ["SDPERF_CACHE"])
    bytes_kept = sum(one.stat().st_size for one in kept.rglob("*") if one.is_file())
    found: dict[str, Any] = {"set": best, "kept_mib": round(bytes_kept / 2**20, 1)}
    start_s = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECOND_SESSION_LIMIT_S,
            check=False,
        )
        found.update(json.loads(done.stdout.splitlines()[-1]))
        found["whole_process_s"] = round(time.perf_counter() - start_s, 1)
    except subprocess.TimeoutExpired:
        found["failed"] = f"it took over {SECOND_SESSION_LIMIT_S} s"
    except (IndexError, json.JSONDecodeError):
        found["failed"] = done.stderr[-500:]
    return found


def _print_table(found: dict[str, Any]) -> None:
    print(f"\n{found['model']} on {found['device']}, torch {found['torch']}")
    print("s/image  gain  [interval]       first   10th    pays  peak  SSIM (tile)     side")
    for name, facts in found["sides"].items():
        if "gain" not in facts:
            print(f"   -     {name}: {facts.get('failed', 'not measured')}")
            continue
        low, high = facts["gain_interval"]
        share, ssim = facts.get("denoise_share_of_peak"), facts.get("ssim")
        print(
            f"{facts['seconds_per_image']:7.3f} {facts['gain']:5.2f}  [{low:.2f}, {high:.2f}] "
            f"{facts['gain_coverage']:4.0%} {facts['first_call_s']:7.1f} "
            f"{facts['until_tenth_image_s']:7.1f} {facts['pays_from_image'] or 'never':>5} "
            f"{'' if share is None else f'{share:.0%}':>5} "
            f"{'' if ssim is None else f'{ssim:.4f}':>7} "
            f"{facts.get('worst_tile_ssim', ''):>7}  {name}"
        )
    if "second_session" in found:
        print(f"second session: {found['second_session']}")


if __name__ == "__main__":
    main()
