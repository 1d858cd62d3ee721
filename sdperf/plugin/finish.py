"""The end of a session: verdicts into the records, evidence to disk, summary to the terminal."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sdperf.errors import SdperfError
from sdperf.measurement import Measurement, format_measurement
from sdperf.plugin.gate import Gate, read_baselines
from sdperf.report.inside import format_guards, format_resources, format_stages
from sdperf.report.terminal import (
    WIDTH,
    Line,
    Row,
    format_ceilings,
    format_counts,
    format_findings,
    format_table,
)
from sdperf.store.files import write_atomically
from sdperf.store.images import ImageStore
from sdperf.verdict import Finding, Outcome, Verdict

if TYPE_CHECKING:
    from sdperf.plugin.session import SdSession

EVIDENCE_FOLDER: Final = ".sdperf"
_GITIGNORE: Final = b"# Made by sdperf: the last run's images.\n*\n"


def finish_session(session: pytest.Session, ours: SdSession) -> None:
    """Judge all cases, before pytest-benchmark saves.

    Verdicts and scores go into ``extra_info``; images are stored by content hash beside whatever
    is saved; a run with a failure exits 1 and is not saved as a run to compare with.
    """
    host = getattr(session.config, "_benchmarksession", None)
    ours.rows = [_make_row(ours, host, node_id) for node_id in ours.judged_ids()]
    failing = any(
        row.verdict.outcome.is_failure or (ours.settings.strict and row.verdict.outcome.is_open)
        for row in ours.rows
    )
    folders = [session.config.rootpath / EVIDENCE_FOLDER / "images"]
    if host is not None:
        if failing or session.testsfailed:
            ours.refused_save = bool(host.save or host.autosave)
            host.save = host.autosave = None
        host.save_data = True
        host.quiet = host.quiet or (
            len(host.benchmarks) == len(ours.results)
            and not session.config.getoption("benchmark_columns")
        )
        folders += _saved_beside(host)
    if failing and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    try:
        _store_images(ours, folders)
    except OSError as error:
        ours.storage_complaint = f"the images cannot be stored: {error}"


def _saved_beside(host: Any) -> list[Path]:
    """Return the image folders beside each JSON that pytest-benchmark is going to write."""
    folders = []
    if host.json:
        folders.append(Path(host.json).resolve().parent / "images")
    if (host.save or host.autosave) and hasattr(host.storage, "get"):
        folders.append(Path(host.storage.get("images")))
    return folders


def _store_images(ours: SdSession, folders: Iterable[Path]) -> None:
    for folder in folders:
        store = ImageStore(folder)
        if folder.parent.name == EVIDENCE_FOLDER:
            ours.evidence = folder
            write_atomically(folder.parent / ".gitignore", _GITIGNORE)
        for result in ours.results.values():
            for png in result.pngs.values():
                store.write(png)


def _make_row(ours: SdSession, host: Any, node_id: str) -> Row:
    case = node_id.rpartition("::")[2].removeprefix("test_")
    result = ours.results.get(node_id)
    complaint = ours.complaints.get(node_id)
    if result is None or complaint is not None:
        finding = Finding(Outcome.BROKEN, "worker", complaint or "the case left no measurement")
        if node_id in ours.unfit:
            finding = Finding(Outcome.INCONCLUSIVE, "machine", finding.reason, "sdperf doctor")
        verdict = Verdict(node_id, (finding,))
        return Row(case, verdict, None if result is None else result.measurement, None)
    comparing = host is not None and bool(host.compare)
    baselines = (
        read_baselines(host.compared_mapping or {}, Path(getattr(host.storage, "path", ".")))
        if comparing
        else {}
    )
    gate = Gate(
        comparing=comparing,
        baselines=baselines,
        references=ours.suite().shipped,
        max_slowdown=ours.settings.max_slowdown,
    )
    try:
        measurement, verdict = gate.judge(node_id, result)
    except SdperfError as error:
        finding = Finding(Outcome.BROKEN, "image", str(error))
        measurement, verdict = result.measurement, Verdict(node_id, (finding,))
    _write_record(host, node_id, measurement, verdict)
    medians = [
        statistics.median(one.measurement.rounds_s)
        for one in baselines.get(node_id, ())
        if one.measurement is not None and one.unusable is None
    ]
    latency_judged = any(
        finding.gate == "latency" and not finding.outcome.is_open for finding in verdict.findings
    )
    change = (
        statistics.median(measurement.rounds_s) / statistics.median(medians)
        if medians and latency_judged
        else None
    )
    return Row(case, verdict, measurement, change)


def _write_record(host: Any, node_id: str, measurement: Measurement, verdict: Verdict) -> None:
    for benchmark in host.benchmarks if host is not None else ():
        if benchmark.fullname == node_id:
            record = format_measurement(measurement)
            record["verdict"] = {
                "outcome": verdict.outcome.value,
                "findings": [
                    {"outcome": one.outcome.value, "gate": one.gate, "reason": one.reason}
                    for one in verdict.findings
                ],
            }
            benchmark.extra_info["sdperf"] = record


def print_summary(reporter: pytest.TerminalReporter, ours: SdSession) -> None:
    """Print the table, the findings, the counts, and what to type next."""
    rows = ours.rows
    reporter.section("sdperf", "=", bold=True)
    for description in _describe_run(rows):
        reporter.write_line(description)
    for line in (*format_table(rows), *format_ceilings(rows)):
        _write(reporter, line)
    for line in (*format_stages(rows), *format_resources(rows), *format_guards(rows)):
        _write(reporter, line)
    findings = format_findings(rows)
    if findings:
        reporter.write_line("")
        for line in findings:
            _write(reporter, line)
    reporter.write_line("")
    reporter.write_line(format_counts(rows, len(ours.skipped)))
    for reason in dict.fromkeys(ours.skipped.values()):
        reporter.write_line(f"skipped: {reason}")
    if ours.evidence is not None:
        reporter.write_line(f"images: {_relative(ours.evidence)}")
    if ours.storage_complaint is not None:
        reporter.write_line(ours.storage_complaint, red=True)
    if ours.refused_save:
        reporter.write_line("not saved: a run with a failure is never a baseline", yellow=True)


def _describe_run(rows: Iterable[Row]) -> list[str]:
    for row in rows:
        if row.measurement is not None:
            measured, workload = row.measurement, row.measurement.workload
            where = measured.environment
            name = where.device_name or where.chip
            torch = where.packages.get("torch", "unknown")
            image = measured.images[0]
            return [
                *textwrap.wrap(
                    f"{workload.model} on {where.device_kind} ({name}), torch {torch}: "
                    f"{workload.num_inference_steps} steps, guidance {workload.guidance_scale:g}, "
                    f"{image.width} x {image.height} px",
                    WIDTH,
                )
            ]
    return []


def _relative(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _write(reporter: pytest.TerminalReporter, line: Line) -> None:
    markup = {name: True for name in (line.colour, "bold" if line.bold else "") if name}
    reporter.write_line(line.text, **markup)
