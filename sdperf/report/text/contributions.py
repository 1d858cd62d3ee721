"""What a contribution holds, in words, and the table that contributions fill. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.table import Column, Marked, Table
from sdperf.report.text.lines import Line
from sdperf.store.contribution.contribution import ContributedCase, Contribution
from sdperf.units import UNKNOWN, format_bytes, format_quantity, format_seconds

TABLE_BEGIN: Final = "<!-- table: sdperf contribute --add writes it -->"
TABLE_END: Final = "<!-- end of table -->"

LEFT_OUT: Final = (
    "prompts, images and their names; the code under test, its commit and branch; host, user and "
    "program names; paths; every guard's words; variables that hold anything but a number or a "
    "switch"
)

_COLUMNS: Final = (
    "machine",
    "GPU cores",
    "memory",
    "system",
    "torch",
    "model",
    "case",
    "size, steps",
    "s/image",
    "images/s",
    "GPU memory",
    "J/image",
    "machine's fitness",
    "bundle",
)
_ENERGIES: Final = ("gpu_soc_energy_j", "gpu_board_energy_j")
_SHOWN_KINDS: Final = ("latency", "throughput")


def describe_contribution(contribution: Contribution) -> Iterator[Line]:
    """Say what a contribution holds and what it does not."""
    where = contribution.environment
    yield Line("what it says", bold=True)
    yield Line(f"  machine    {_name_machine(contribution)}, {format_bytes(where.ram_bytes)}")
    yield Line(f"  system     {where.os_name} {where.os_version} ({where.os_build or UNKNOWN})")
    packages = [f"{name} {version}" for name, version in where.packages.items()]
    for start in range(0, len(packages), 4):
        head = "  packages   " if start == 0 else " " * 13
        yield Line(head + ", ".join(packages[start : start + 4]))
    variables = ", ".join(f"{name}={value}" for name, value in where.variables.items())
    yield Line(f"  variables  {variables or 'none that changes results'}")
    yield Line(f"  guards     {_count_guards(contribution)}")
    yield Line(f"  cases      {len(contribution.cases)}")
    for case in contribution.cases:
        model = _name_model(case)
        seconds = format_seconds(case.seconds_per_image)
        name = f"{case.kind} {case.stage or ''}".strip()
        yield Line(f"    {name:<24}{case.variant:<28}{seconds:>10} an image  {model}"[:100])


def format_table(bundles: Mapping[str, Contribution]) -> str:
    """Format the table of all bundles, fastest machines of a model first.

    Args:
        bundles: Contributions by the names of their files.
    """
    rows = [
        (_name_model(case), case.kind, case.seconds_per_image, _row(name, bundle, case))
        for name, bundle in bundles.items()
        for case in bundle.cases
        if case.kind in _SHOWN_KINDS
    ]
    if not rows:
        return "Nobody has sent one yet.\n"
    columns = tuple(Column(title, is_text=True) for title in _COLUMNS)
    table = Table(columns, tuple(row for *_, row in sorted(rows)))
    return "\n".join(format_markdown_table(table)) + "\n"


def replace_table(page: str, table: str) -> str | None:
    """Put a table between the two marks of a page; ``None`` unless each mark is there once."""
    if page.count(TABLE_BEGIN) != 1 or page.count(TABLE_END) != 1:
        return None
    before, _, rest = page.partition(TABLE_BEGIN)
    _, _, after = rest.partition(TABLE_END)
    return None if TABLE_END in before else f"{before}{TABLE_BEGIN}\n\n{table}\n{TABLE_END}{after}"


def _row(name: str, bundle: Contribution, case: ContributedCase) -> tuple[str, ...]:
    where = bundle.environment
    seconds = case.seconds_per_image
    joules = next((case.resources[one] for one in _ENERGIES if one in case.resources), None)
    images = case.resources.get("images")
    rounds = format_quantity(len(case.rounds_s), "round")
    return (
        _name_machine(bundle),
        str(where.gpu_cores or UNKNOWN),
        format_bytes(where.ram_bytes),
        f"{where.os_name} {where.os_version}",
        where.packages.get("torch", UNKNOWN),
        _name_model(case),
        f"{case.kind} {case.variant}",
        f"{case.width} x {case.height}, {case.num_inference_steps}",
        f"{seconds:.3g}",
        f"{1 / seconds:.3g}",
        format_bytes(case.memory.peak_device_bytes)
        + (" (sampled)" if case.memory.peak_device_sampled else ""),
        f"{joules / images:.3g}" if joules is not None and images else UNKNOWN,
        _count_guards(bundle),
        Marked(rounds, f"[{rounds}]({name})"),
    )


def _name_model(case: ContributedCase) -> str:
    return "own code" if case.has_subject else case.model or "own"


def _name_machine(bundle: Contribution) -> str:
    where = bundle.environment
    on = "" if where.device_kind == "cpu" else f" {where.device_kind}"
    name = where.device_name if where.device_kind == "cuda" else where.chip
    return f"{name}{on or ' cpu'}"


def _count_guards(bundle: Contribution) -> str:
    counts = bundle.count_guards()
    words = [
        f"{counts[state]} {state}" for state in ("ok", "warn", "unknown", "fail") if counts[state]
    ]
    return ", ".join(words) or "not looked at"
