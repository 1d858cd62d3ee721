"""A report's page: everything computed here, laid out by the templates."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from sdperf import __version__
from sdperf.judging.machine import JudgedMachine
from sdperf.judging.trend.changes import Trend
from sdperf.record.commit import parse_commit_info
from sdperf.report.figures import draw_watched
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.engines import draw_engines
from sdperf.report.figures.images import draw_divergence
from sdperf.report.figures.machines import draw_machines
from sdperf.report.figures.palette import COLOURS
from sdperf.report.figures.stages import draw_components, draw_share_of_peak
from sdperf.report.figures.strip import draw_strip
from sdperf.report.figures.style import render_inline_svg
from sdperf.report.figures.time import draw_time
from sdperf.report.figures.trend import draw_trend
from sdperf.report.figures.workers import draw_workers
from sdperf.report.html.environments import EnvironmentTable, tabulate_environments
from sdperf.report.html.evidence import Evidence, gather_evidence
from sdperf.report.html.plot import Plot
from sdperf.report.html.raw_data import ELEMENT_ID, pack_machines
from sdperf.report.html.summary import Summary, summarise
from sdperf.report.html.sweep import view_sweep
from sdperf.report.html.table import format_html_table
from sdperf.report.html.tables import CaseRow, list_choices, list_columns, list_rows
from sdperf.report.html.tuning import view_tuning
from sdperf.report.pictures.pictures import PictureSource
from sdperf.sweep.summary import SweepSummary
from sdperf.tune.summary import StudySummary as Study


@dataclass(frozen=True)
class MachineView:
    """One machine's part of the page; a plot is ``None`` where the data do not allow it."""

    ident: str
    machine: str
    run: str
    bases: tuple[str, ...]
    measured_at: str
    commit: str
    summary: Summary
    rows: tuple[CaseRow, ...]
    columns: list[tuple[str, str]]
    choices: dict[str, list[str]]
    time: Plot | None
    watched: tuple[Plot, ...]
    components: Plot | None
    share: Plot | None
    workers: Plot | None
    engines: Plot | None
    divergence: Plot | None
    strip: Plot | None
    trend: Plot | None
    evidence: Evidence
    environment: EnvironmentTable


def render_page(
    machines: Sequence[JudgedMachine],
    source: PictureSource,
    trends: Mapping[str, Sequence[Trend]] | None = None,
    tunings: Sequence[Study] = (),
    sweeps: Sequence[SweepSummary] = (),
) -> str:
    """Render a report.

    Args:
        machines: One or more machines, or none where a study or a sweep is shown; the verdict of
            the first one is the title.
        source: Finds the pictures.
        trends: The trends of each machine, by `JudgedMachine.machine`.
        tunings: Studies of `sdperf tune` to show below.
        sweeps: What `sdperf sweep` found, to show below.

    Returns:
        One HTML document that loads nothing.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sdperf.report.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["tabulate"] = lambda table: Markup(format_html_table(table))
    script = _read("report.js")
    views = [
        _view(machine, source, index, (trends or {}).get(machine.machine, ()))
        for index, machine in enumerate(machines)
    ]
    across = draw_machines(machines) if machines else None
    studies = [
        view_tuning(summary, f"tuning{number}", _plot)
        for number, summary in enumerate(tunings, start=1)
    ]
    swept = [
        view_sweep(summary, f"sweep{number}", _plot) for number, summary in enumerate(sweeps, 1)
    ]
    headlines = [
        *(view.summary.headline for view in views),
        *(study.headline for study in studies),
        *(one.headline for one in swept),
    ]
    return environment.get_template("report.html.j2").render(
        version=__version__,
        machines=views,
        across=None if across is None else _plot(across, "all"),
        environments=tabulate_environments([machine.head for machine in machines]),
        tunings=studies,
        sweeps=swept,
        title=f"{headlines[0]}: sdperf report",
        policy=_write_policy(script),
        style=Markup(_read("report.css")),
        colours=COLOURS,
        script=Markup(script),
        raw_data_id=ELEMENT_ID,
        raw_data=pack_machines(machines),
        markup=Markup,
    )


def _write_policy(script: str) -> str:
    """Allow this one script, styles and pictures within the page, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    folder = resources.files("sdperf.report.html") / "templates"
    return (folder / name).read_text(encoding="utf-8").strip()


def _view(
    machine: JudgedMachine, source: PictureSource, index: int, trends: Sequence[Trend]
) -> MachineView:
    ident = f"m{index + 1}"
    rows = list_rows(machine)
    document = machine.head.run.document
    commit = parse_commit_info(document.get("commit_info"))
    branch = "" if commit.branch is None else f" ({commit.branch})"
    dirty = " with uncommitted changes" if commit.is_dirty else ""

    def plot(drawn: Drawn | None) -> Plot | None:
        return None if drawn is None else _plot(drawn, ident)

    return MachineView(
        ident=ident,
        machine=machine.machine,
        run=machine.head.name,
        bases=tuple(base.name for base in machine.bases),
        measured_at=str(document.get("datetime") or "unknown")[:16].replace("T", " "),
        commit=f"{(commit.id or 'unknown')[:10]}{branch}{dirty}",
        summary=summarise(machine),
        rows=tuple(rows),
        columns=list_columns(rows),
        choices=list_choices(rows),
        time=plot(draw_time(machine)),
        watched=tuple(_plot(drawn, ident) for drawn in draw_watched(machine)),
        components=plot(draw_components(machine)),
        share=plot(draw_share_of_peak(machine)),
        workers=plot(draw_workers(machine)),
        engines=plot(draw_engines(machine)),
        divergence=plot(draw_divergence(machine)),
        strip=plot(draw_strip(machine)),
        trend=plot(draw_trend(trends)),
        evidence=gather_evidence(machine, source),
        environment=tabulate_environments([*machine.bases, machine.head]),
    )


def _plot(drawn: Drawn, ident: str) -> Plot:
    name = f"{ident}-{drawn.name}"
    return Plot(
        name=name,
        title=drawn.title,
        caption=drawn.caption,
        svg=render_inline_svg(drawn.figure, name, drawn.title, drawn.hints),
        table=drawn.table,
    )
