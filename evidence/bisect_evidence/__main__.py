"""Plant slow commits and an image change, let ``sdperf bisect`` find them, and keep what it said.

Run as ``python -m evidence.bisect_evidence``. Throw-away repositories of sixteen commits are made
in a temporary folder; the result names commits by hashes that are the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from evidence.bisect_evidence.repository import CULPRIT, SUBJECT, Planted, make_repository
from sdperf.bisect.state import BisectState
from sdperf.record.json import format_record, parse_record
from sdperf.store.files import write_atomically

NAME: Final = "bisect-evidence"
SHARED: Final = ("--subject", SUBJECT, "--guards", "off")
ARGUMENTS: Final[dict[Planted, tuple[str, ...]]] = {
    "slow": ("--for", "speed", "--set", "steps=10", "--pictures", "1"),
    "slower": ("--for", "speed", "--set", "steps=10", "--pictures", "1"),
    "image": ("--for", "image", "--set", "steps=6", "--pictures", "4"),
}
TITLES: Final[dict[Planted, str]] = {
    "slow": "One more UNet call in ten",
    "slower": "One more UNet call in two",
    "image": "Another end of the noise schedule",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence.bisect_evidence", description=__doc__)
    parser.add_argument("--only", choices=tuple(ARGUMENTS), help="renew one of them")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    path = options.out / f"{NAME}.json"
    found: dict[str, Any] = {}
    if options.only and path.exists():
        found = json.loads(path.read_text())["searches"]
    chosen: tuple[Planted, ...] = (options.only,) if options.only else tuple(ARGUMENTS)
    for planted in chosen:
        with tempfile.TemporaryDirectory(prefix="sdperf-evidence-") as folder:
            found[planted] = search(planted, Path(folder) / "studio", options.out)
    searches = {planted: found[planted] for planted in ARGUMENTS if planted in found}
    document = {"command": "python -m evidence.bisect_evidence", "searches": searches}
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
    write_atomically(path.with_suffix(".md"), format_evidence(document).encode())


def search(planted: Planted, folder: Path, out: Path) -> dict[str, Any]:
    """Make a repository, search it, and keep the answer, the report and its pictures."""
    good, *after = make_repository(folder, planted)
    arguments = ["bisect", good[:12], after[-1][:12], *SHARED, *ARGUMENTS[planted]]
    report = folder / "report.md"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("sdperf")), *arguments, "--report", report.name],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(done.stdout)
    kept = list((folder / ".sdperf" / "bisect").glob("*.json"))  # none where it was void
    state = parse_record(BisectState, json.loads(kept[0].read_text())) if kept else None
    pictures = out / f"{NAME}-images"
    for picture in sorted((folder / "report-images").glob("*.png")):
        write_atomically(pictures / f"{planted}-{picture.name}", picture.read_bytes())
    text = report.read_text() if report.exists() else ""
    text = text.replace("report-images/", f"{pictures.name}/{planted}-")
    worktrees = subprocess.run(
        ["git", "-C", str(folder), "worktree", "list"], capture_output=True, text=True, check=True
    )
    return {
        "command": shlex.join(["sdperf", *arguments]),
        "exit_status": done.returncode,
        "planted": after[CULPRIT - 1],
        "printed": done.stdout.splitlines()[:-1],
        "worktrees_left": worktrees.stdout.count("\n") - 1,
        "end": format_record(state.end) if state and state.end else None,
        "steps": [format_record(step) for step in state.steps] if state else [],
        "closing": format_record(state.closing) if state and state.closing else None,
        "report": text,
    }


def format_evidence(document: dict[str, Any]) -> str:
    lines = [
        "# What `sdperf bisect` found among sixteen commits",
        "",
        f"`{document['command']}` makes throw-away repositories in which one commit of sixteen "
        "plants something, runs",
        "`sdperf bisect` on each and keeps what it said. Measured on two cores that other work "
        "kept busy: what is not found",
        "is said not to be, and is no proof that it could not be found on a quiet machine.",
        "",
        "| planted | exit status | named | right | tests | blocks | skipped |",
        "| --- | --- | --- | --- | ---: | ---: | ---: |",
    ]
    for planted, one in document["searches"].items():
        steps = [step for step in (one["end"], *one["steps"]) if step is not None]
        tested = [step for step in steps if step["answer"] != "skipped"]
        blocks = sum(case["blocks"] for step in tested for case in step["cases"])
        named = re.search(r"first bad commit: ([0-9a-f]{12})", "\n".join(one["printed"]))
        is_right = named is not None and one["planted"].startswith(named[1])
        right = "no answer" if named is None else "yes" if is_right else "no"
        lines.append(
            f"| {TITLES[planted]} ({one['planted'][:12]}) | {one['exit_status']} "
            f"| {named[1] if named else 'none'} | {right} | {len(tested)} "
            f"| {blocks} | {len(steps) - len(tested)} |"
        )
    for planted, one in document["searches"].items():
        lines += ["", f"## {TITLES[planted]}", "", "```", f"$ {one['command']}", *one["printed"]]
        lines += ["```", "", "The report that it wrote:", ""]
        lines += [re.sub(r"^(#+ )", r"##\1", line) for line in one["report"].splitlines()]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
