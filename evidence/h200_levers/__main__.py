"""Run a sitting, and print its table."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import evidence.h200_levers as package
from evidence.h200_levers.models import MODELS
from evidence.h200_levers.sides import PLAIN, RECIPE
from evidence.h200_levers.sitting import Sitting, keep_artifacts, write_json

SECOND_SESSION_LIMIT_S: Final = 180


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
    parser.add_argument("--no-recipe", action="store_true", help="leave diffusers' recipe out")
    parser.add_argument("--turns-only", action="store_true", help="leave the stages alone")
    parser.add_argument(
        "--second-session",
        action="store_true",
        help="also time the first call of a second process that has the first one's compiled code",
    )
    parser.add_argument("--first-call-of", help=argparse.SUPPRESS)
    parser.add_argument("--artifacts", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()

    def save(found: dict[str, Any]) -> None:
        if asked.json is not None:
            write_json(asked.json, found)

    if asked.first_call_of:
        print(json.dumps(_begin_again(asked)))
        return
    model = MODELS[asked.model]
    sitting = Sitting(asked.model, model, asked.device, is_tiny=asked.tiny, save=save)
    sets = None if asked.sets is None else tuple(asked.sets.split(","))
    sitting.measure(
        asked.seconds,
        sets,
        turns_only=asked.turns_only,
        most_turns=asked.turns,
        with_recipe=not asked.no_recipe,
    )
    if asked.second_session:
        sitting.found["second_session"] = _start_second_session(asked, sitting)
        save(sitting.found)
    _print_table(sitting.found)


def _begin_again(asked: argparse.Namespace) -> dict[str, Any]:
    """Be the second session: take over what the first compiled, and time the first call."""
    import torch

    load_s = 0.0
    sitting = Sitting(
        asked.model, MODELS[asked.model], asked.device, is_tiny=asked.tiny, save=lambda _: None
    )
    if asked.artifacts is not None:
        start_s = time.perf_counter()
        torch.compiler.load_cache_artifacts(asked.artifacts.read_bytes())
        load_s = time.perf_counter() - start_s
    seconds = sitting.time_first_call(asked.first_call_of)
    counted = torch._dynamo.utils.counters
    caches = {
        name: count
        for kind in ("inductor", "aot_autograd")
        for name, count in counted[kind].items()
        if "cache" in name and isinstance(count, int)
    }
    return {"load_artifacts_s": round(load_s, 2), **seconds, "compiler_caches": caches}


def _start_second_session(asked: argparse.Namespace, sitting: Sitting) -> dict[str, Any]:
    sets = [
        name
        for name, facts in sitting.found["sides"].items()
        if name not in (PLAIN, RECIPE) and "gain" in facts and "stream" not in name
    ]
    if not sets:
        return {"failed": "no set was measured"}
    with tempfile.TemporaryDirectory(prefix="sdperf-levers-") as name:
        kept = Path(name) / "artifacts"
        size = keep_artifacts(kept)
        if size is None:
            return {"failed": "the compiler made nothing that can be kept"}
        command = [sys.executable, "-m", "evidence.h200_levers", asked.model]
        command += ["--device", asked.device, "--first-call-of", sets[0], "--artifacts", str(kept)]
        command += ["--tiny"] if asked.tiny else []
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(Path(name) / "empty")}
        found: dict[str, Any] = {"set": sets[0], "artifacts_mib": round(size / 2**20, 1)}
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECOND_SESSION_LIMIT_S,
                check=False,
            )
            found.update(json.loads(done.stdout.splitlines()[-1]))
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
