"""Public regressions that a sweep should find: which were looked for, and what sdperf said.

``python -m evidence.known_regressions`` runs those that fit a machine without a GPU;
``... page`` writes docs/known-regressions.md from the list and from what was kept of the runs.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from packaging.version import Version

from sdperf.record.json import decode_object, parse_record
from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.sweep import describe_step
from sdperf.report.table import Code, Column, Marked, Table
from sdperf.sweep.summary import SweepSummary

Aspect = Literal["speed", "memory", "pictures", "runs"]
"""What got worse; ``runs`` is whether it draws at all."""

Need = Literal["cpu", "gpu", "mac", "fp16"]
State = Literal["found", "open", "missed", "cannot be run"]

LIST: Final = Path(__file__).parent / "regressions.toml"
RESULTS: Final = Path("docs") / "results" / "known-regressions.json"
PAGE: Final = Path("docs") / "known-regressions.md"
_NEEDS: Final[dict[Need, str]] = {
    "cpu": "not tried yet",
    "gpu": "needs a GPU",
    "mac": "needs a Mac",
    "fp16": "needs a processor that computes in fp16",
}
_LOWEST: Final = {
    "diffusers": "0.37",
    "mlx": "0.32",
    "onnxruntime": "1.22",
    "onnxruntime-gpu": "1.22",
    "torch": "2.6",
    "transformers": "4.56",
}
"""The oldest versions that sdperf runs; a test holds them against pyproject.toml."""

_OLDER: Final = "older versions than sdperf runs"
_EXPECTED: Final[dict[Aspect, tuple[str, ...]]] = {
    "speed": ("slower",),
    "memory": ("more",),
    "pictures": ("changed", "broken"),
    "runs": (),
}
_PLACES: Final = re.compile(r"/\S*/site-packages/")
"""Where this machine keeps its packages, which is nobody's business."""

_UNKNOWN: Final = ("open", "unknown")
_HEAD: Final = """\
# Known regressions

Public regressions of speed, memory or pictures that [`sdperf sweep`](sweep.md) should find, each as
its thread tells it: the honest measure of what the tool is for. This page is made by
`python -m evidence.known_regressions page`; without `page` the program looks for those that fit a
machine without a GPU, and keeps what was said in `docs/results/known-regressions.json`.

"""
_STATES: Final = """\
*Found*: sdperf says the same of these two versions. *Open*: it could not be settled. *Missed*:
sdperf says that nothing of the kind happened here, with this model and size; the thread may mean
others. Nothing is called found that was not run. *Mended*: the right version is the newer one,
which mends it; the older one is judged against it. *Runs*: whether it draws at all. Where a command
names a subject, that is a tiny pipeline with what the thread is about, in
`evidence/known_regressions`. Builds are those that pip finds: torch's are CUDA builds
that run on the processor, but a CPU build where this machine keeps one (2.13.0).

"""


@dataclass(frozen=True)
class Regression:
    """A regression as its thread tells it.

    Attributes:
        id: Repository and number.
        url: The thread.
        package: Whose versions.
        aspect: What got worse.
        about: What is said there, in a line.
        before: The version that was right.
        after: The version that was not.
        needs: What it takes to look.
        run: What ``sdperf sweep`` is given beside the versions.
    """

    id: str
    url: str
    package: str
    aspect: Aspect
    about: str
    before: str
    after: str
    needs: Need
    run: tuple[str, ...] = ()

    @property
    def is_mended(self) -> bool:
        """Whether the version that is right is the newer one, which mends it."""
        return Version(self.before) > Version(self.after)

    @property
    def is_older(self) -> bool:
        """Whether a version lies below those that sdperf runs."""
        versions = (Version(self.before), Version(self.after))
        return min(versions) < Version(_LOWEST[self.package])

    @property
    def fits(self) -> bool:
        """Whether it can be looked for without a GPU and with versions that sdperf runs."""
        return self.needs == "cpu" and not self.is_older

    @property
    def arguments(self) -> list[str]:
        """The command without ``sdperf``."""
        steps = [f"{self.package}=={version}" for version in (self.before, self.after)]
        return [
            "sweep",
            *(word for step in steps for word in ("--python-package", step)),
            *self.run,
        ]

    @property
    def command(self) -> str:
        """The command that looks for it."""
        return shlex.join(["sdperf", *self.arguments])


@dataclass(frozen=True)
class Look:
    """What sdperf said of one that was looked for.

    Attributes:
        id: Which.
        command: The command that was run.
        state: Whether it was found.
        said: The step in words, or why there is none.
        machine: Chip and cores.
        day: When, ISO 8601.
        version: Of sdperf.
    """

    id: str
    command: str
    state: State
    said: str
    machine: str
    day: str
    version: str


def read_regressions(path: Path = LIST) -> tuple[Regression, ...]:
    """Read the list."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(parse_record(Regression, one) for one in document["regression"])


def read_looks(path: Path) -> dict[str, Look]:
    """Read what was kept of runs, by id; none where there is no file."""
    if not path.exists():
        return {}
    document = decode_object(path.read_bytes(), str(path))
    looks: list[Any] = document["looks"]
    return {look.id: look for look in (parse_record(Look, one) for one in looks)}


def judge_sweep(regression: Regression, summary: SweepSummary) -> tuple[State, str]:
    """Say whether a sweep of the two versions shows the regression, and its step in words. Pure."""
    (curve, *_) = summary.curves
    failed = {one.name: one.reason for one in curve.points if one.state == "failed"}
    if failed:
        told = _PLACES.sub("", "; ".join(f"{name}: {why}" for name, why in failed.items()))
        is_asked = regression.aspect == "runs" and [*failed] == [regression.after]
        return "found" if is_asked else "cannot be run", told
    step = next(iter(curve.steps), None)
    if step is None or step.found is None:
        return "cannot be run", "the two versions were not compared"
    answers: dict[Aspect, str] = {
        "speed": step.found.speed,
        "memory": step.found.memory,
        "pictures": step.found.pictures,
        "runs": "both draw",
    }
    answer = answers[regression.aspect]
    state: State = "missed"
    if answer in _EXPECTED[regression.aspect]:
        state = "found"
    elif answer in _UNKNOWN:
        state = "open"
    return state, describe_step(step)


def format_page(regressions: Sequence[Regression], looks: Mapping[str, Look]) -> str:
    """Lay the page out. Pure."""
    return "\n".join(_format_page(regressions, looks)).rstrip() + "\n"


def _format_page(regressions: Sequence[Regression], looks: Mapping[str, Look]) -> Iterator[str]:
    states = [describe_state(one, looks) for one in regressions]
    yield from _HEAD.splitlines()
    counts = {state: states.count(state) for state in sorted(set(states))}
    yield f"Of {len(regressions)} regressions:"
    yield ""
    yield from (f"- {count}: {state}" for state, count in counts.items())
    yield ""
    yield from _STATES.splitlines()
    columns = tuple(
        Column(title, is_text=True)
        for title in ("thread", "versions", "what", "as it is told", "state")
    )
    rows = (
        (
            Marked(one.id, f"[{one.id}]({one.url})"),
            f"{one.package} {one.before} to {one.after}" + (" (mended)" if one.is_mended else ""),
            one.aspect,
            one.about,
            state,
        )
        for one, state in zip(regressions, states, strict=True)
    )
    yield from format_markdown_table(Table(columns, tuple(rows)))
    looked = [(one, looks[one.id]) for one in regressions if one.id in looks]
    if looked:
        yield ""
        yield "## What sdperf said"
        yield ""
        columns = tuple(
            Column(title, is_text=True) for title in ("thread", "state", "said", "where", "day")
        )
        said = (
            (
                one.id,
                look.state,
                look.said,
                ", ".join(filter(None, (look.machine, f"sdperf {look.version}"))),
                look.day,
            )
            for one, look in looked
        )
        yield from format_markdown_table(Table(columns, tuple(said)))
    yield ""
    yield "## The commands"
    yield ""
    columns = tuple(Column(title, is_text=True) for title in ("thread", "command"))
    commands = ((one.id, Code(one.command)) for one in regressions)
    yield from format_markdown_table(Table(columns, tuple(commands)))


def describe_state(regression: Regression, looks: Mapping[str, Look]) -> str:
    """Say where a regression stands: what a run of this very command said, or what it needs."""
    look = looks.get(regression.id)
    if look is not None and look.command == regression.command:
        return look.state
    if not regression.is_older:
        return _NEEDS[regression.needs]
    return (
        f"needs {_OLDER}"
        if regression.needs == "cpu"
        else f"{_NEEDS[regression.needs]} and {_OLDER}"
    )
