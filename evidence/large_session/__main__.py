"""Run seven cases of a ten-billion-weight pipeline and keep where the wall time went.

Once with the code of a revision before and once with the code after:

    git archive COMMIT sdperf ':!sdperf/models/embedded' | tar -x -C /tmp/before
    python -m evidence.large_session /tmp/large out.json --label before --code /tmp/before
    python -m evidence.large_session /tmp/large out.json --label after

The pipeline is built on the device and saved into the folder once, unless it is there. It takes
20 GB there, 40 GB of the host's memory and 45 GB of the device's. ``--small`` is the same session
in seconds without an accelerator.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, Final

import sdperf
from evidence.large_session.session import Session, compare, run_session, summarise
from sdperf.models.loader import resolve_model

SETTLING_S: Final = 3.0
"""A file that was just written is hashed again each time: it could change within a clock's tick."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.large_session",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the pipeline lies, or is put")
    parser.add_argument("output", type=Path, nargs="?", help="JSON that the session is added to")
    parser.add_argument("--label", default="after", help="key of the session in the JSON")
    parser.add_argument(
        "--code",
        type=Path,
        default=Path(sdperf.__file__).parent.parent,
        help="folder that holds the package sdperf to be measured; this one by default",
    )
    parser.add_argument("--small", action="store_true", help="a pipeline of a few megabytes")
    parser.add_argument("--device", default="auto", help="as for --sd-device")
    arguments = parser.parse_args()
    if not (arguments.folder / "model_index.json").is_file():
        _build(arguments.folder, is_small=arguments.small)
    # Both sessions find the hash of the files remembered, and the files in the page cache.
    resolve_model(str(arguments.folder))
    if arguments.output is None:
        return
    small = arguments.small
    session = Session(
        arguments.folder.resolve(), 64 if small else 512, 2 if small else 4, 8, arguments.device
    )
    runs: dict[str, Any] = {}
    if arguments.output.is_file():
        runs = json.loads(arguments.output.read_text(encoding="utf-8"))
    runs[arguments.label] = run_session(session, arguments.code)
    fresh = arguments.output.with_suffix(".part")
    fresh.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    fresh.replace(arguments.output)
    for name, run in runs.items():
        print(*summarise(name, run), sep="\n")
    print(*compare(runs, "before", "after"), sep="\n")


def _build(folder: Path, *, is_small: bool) -> None:
    import torch

    from evidence.large_session.shape import LARGE, SMALL, Flux

    device = "cuda" if torch.cuda.is_available() else "cpu"
    began_s = time.monotonic()
    pipeline = Flux(SMALL if is_small else LARGE, torch.bfloat16, device).build()
    weights = sum(
        weight.numel()
        for part in pipeline.components.values()
        if isinstance(part, torch.nn.Module)
        for weight in part.parameters()
    )
    built_s = time.monotonic() - began_s
    pipeline.save_pretrained(folder)
    saved_s = time.monotonic() - began_s - built_s
    print(
        f"{weights / 1e9:.2f} billion weights built on {device} in {built_s:.1f} s and saved in "
        f"{saved_s:.1f} s",
        flush=True,
    )
    time.sleep(SETTLING_S)


if __name__ == "__main__":
    main()
