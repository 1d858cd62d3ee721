"""Where the first call of a session goes, without kept code, with it, and in the plain pipeline.

Each session is a process of its own; the first finds nothing, the others what it has kept:

    python -m evidence.h200_levers.second_session z_image_turbo --device cuda --json FILE
"""

from __future__ import annotations

import argparse
import cProfile
import json
import logging
import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

PLAIN: Final = "plain"
FIRST: Final = "nothing kept"
STAGES: Final = "stages"
PROFILE: Final = "profile"
UNMARKED: Final = "SDPERF_UNMARKED"
"""In a session's environment: torch keeps nothing of code that chooses an attention kernel."""
CACHES: Final = ("torch._functorch._aot_autograd.autograd_cache", "torch._inductor.codecache")
"""Loggers that say why nothing is kept."""
SESSION_LIMIT_S: Final = 150
_LONGEST: Final = 60


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.h200_levers.second_session",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model")
    parser.add_argument("--set", help="a set of optimisations; kept_code is added to it")
    parser.add_argument("--device", default="auto", help="as for --sd-device")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument("--tiny", action="store_true", help="try it with a tiny model of the class")
    parser.add_argument("--folder", type=Path, help="where code is kept; by default a new one")
    parser.add_argument(
        "--sessions",
        default=f"{FIRST},kept,kept,{STAGES},{PROFILE},{PLAIN}",
        help=f"their names, separated by commas: {FIRST}, {PLAIN}, {STAGES} (its stages are timed "
        f"one by one), {PROFILE} (Python's profiler looks on), and any other word is a session "
        "with kept code; KEY=VALUE words behind a name are its environment",
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(_be_a_session(asked)))
        return
    _run_sessions(asked)


def _run_sessions(asked: argparse.Namespace) -> None:
    found: dict[str, Any] = {"model": asked.model, "is_tiny": asked.tiny, "sessions": []}
    with tempfile.TemporaryDirectory(prefix="sdperf-sessions-") as own:
        kept = asked.folder or Path(own) / "kept"
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        for text in asked.sessions.split(","):
            facts = _run_session(asked, text, kept)
            facts["kept_mib"] = round(
                sum(one.stat().st_size for one in kept.rglob("*") if one.is_file()) / 2**20, 1
            )
            found["sessions"].append(facts)
            print(
                text,
                {key: facts.get(key) for key in ("failed", "first_call_s", "second_call_s")},
                flush=True,
            )
            if asked.json is not None:
                part = asked.json.with_suffix(".part")
                part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                part.replace(asked.json)


def _run_session(asked: argparse.Namespace, text: str, kept: Path) -> dict[str, Any]:
    words = text.split()
    environment = dict(word.split("=", 1) for word in words if "=" in word)
    name = " ".join(word for word in words if "=" not in word)
    command = [sys.executable, "-m", "evidence.h200_levers.second_session", asked.model]
    command += ["--device", asked.device, "--child", name]
    command += ["--set", asked.set] if asked.set else []
    command += ["--tiny"] if asked.tiny else []
    facts: dict[str, Any] = {"session": name, "environment": environment}
    start_s = time.time()
    try:
        done = subprocess.run(
            command,
            env={
                **os.environ,
                "SDPERF_CACHE": str(kept),
                **environment,
                "SDPERF_SESSION_START": str(start_s),
            },
            capture_output=True,
            text=True,
            timeout=SESSION_LIMIT_S,
            check=False,
        )
        facts.update(json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        facts["failed"] = f"it took over {SESSION_LIMIT_S} s"
    except (IndexError, json.JSONDecodeError):
        facts["failed"] = done.stderr[-1500:]
    facts["whole_process_s"] = round(time.time() - start_s, 2)
    return facts


def _be_a_session(asked: argparse.Namespace) -> dict[str, Any]:
    started_s = float(os.environ["SDPERF_SESSION_START"])
    marks: dict[str, float] = {}
    last_s = started_s

    def mark(name: str) -> None:
        nonlocal last_s
        now_s = time.time()
        marks[name] = round(now_s - last_s, 3)
        last_s = now_s

    mark("python_s")
    import torch

    mark("import_torch_s")
    from evidence.h200_levers.models import MODELS
    from evidence.h200_levers.sides import make_optimised, make_plain
    from evidence.h200_levers.sitting import Sitting
    from sdperf.pipeline.optimisations.compiling import allow_shapes

    mark("import_others_s")
    sitting = Sitting(
        asked.model, MODELS[asked.model], asked.device, is_tiny=asked.tiny, save=lambda _: None
    )
    mark("build_s")
    workload = sitting._model.workload(asked.model)
    allow_shapes()
    text = f"{asked.set or sitting._model.sets[0]}+kept_code"
    if asked.child == PLAIN:
        side = make_plain(sitting._pipeline, workload)
    else:
        side = make_optimised(sitting._pipeline, workload, text, sitting.device)
    if UNMARKED in os.environ:
        torch._inductor.config.unsafe_marked_cacheable_functions = {}
    reasons = _note_reasons()
    sitting.device.synchronize()
    mark("optimise_s")
    facts: dict[str, Any] = {"set": side.name, **marks}
    if asked.child == STAGES:
        facts.update(_time_stages(sitting, side))
    elif asked.child == PROFILE:
        profiler = cProfile.Profile()
        seconds = profiler.runcall(sitting._time_round, side, 0)
        facts["first_call_profiled_s"] = round(seconds, 2)
        facts["functions"] = _list_functions(profiler)
    else:
        for turn, name in enumerate(("first_call_s", "second_call_s", "third_call_s")):
            facts[name] = round(sitting._time_round(side, turn), 3)
    facts["phases_s"] = {
        name: [len(each), round(sum(each), 3)]
        for name, each in torch._dynamo.utils.compilation_time_metrics.items()
    }
    facts["not_kept_because"] = reasons
    counted = torch._dynamo.utils.counters
    facts["compiler_counters"] = {
        f"{kind}.{name}": count
        for kind in ("inductor", "aot_autograd", "stats", "frames")
        for name, count in counted[kind].items()
        if isinstance(count, int)
    }
    return facts


def _time_stages(sitting: Any, side: Any) -> dict[str, dict[str, float]]:
    """Time the stages of the first and of the second picture."""
    from sdperf.measure.clock import monotonic_clock
    from sdperf.pipeline.tokenize_ahead import TokenizeAhead
    from sdperf.record.workload import ImageRequest
    from sdperf.run.worker.profiler import profile_image

    found: dict[str, dict[str, float]] = {}
    names = ("encode_prompt_s", "denoise_s", "decode_latents_s", "whole_s", "deliver_s")
    ahead = TokenizeAhead(side.stages.pipeline)
    with ahead:
        for which in ("first", "second"):
            times = profile_image(
                side.stages,
                ahead,
                ImageRequest(sitting._prompt(0), 0),
                synchronize=sitting.device.synchronize,
                clock=monotonic_clock,
            )
            seconds = {name: getattr(times, name, None) for name in names}
            found[f"{which}_stages"] = {
                name: round(one, 3) for name, one in seconds.items() if one is not None
            }
    return found


def _note_reasons() -> list[str]:
    """Note why torch does not keep what it traced."""
    reasons: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if "ypass" in text:
                reasons.append(text[:300])

    for name in CACHES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(Noting())
        logger.propagate = False
    return reasons


def _list_functions(profiler: Any) -> list[list[Any]]:
    """List functions by the seconds they and what they call took, the longest first."""
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    by_whole = sorted(stats.items(), key=lambda one: -one[1][3])[: 3 * _LONGEST]
    by_own = sorted(stats.items(), key=lambda one: -one[1][2])[:_LONGEST]
    return [
        [_name(where), calls, round(own, 3), round(whole, 3)]
        for where, (calls, _, own, whole, _) in [*by_whole, *by_own]
    ]


def _name(where: tuple[str, int, str]) -> str:
    file, line, function = where
    return f"{'/'.join(Path(file).parts[-3:])}:{line}:{function}"


if __name__ == "__main__":
    main()
