import dataclasses
import math
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from matplotlib.figure import Figure

from sdperf.images.png import decode_png
from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.judging.trend.changes import analyse_machine
from sdperf.judging.trend.points import METRICS, TrendPoint
from sdperf.record.usage import Curve
from sdperf.record.verdict import Outcome
from sdperf.report.figures import draw_all, select_watched, style
from sdperf.report.figures.machines import compute_share_of_peak, draw_machines, list_platforms
from sdperf.report.figures.palette import COLOURS, SIGNS
from sdperf.report.figures.resources import draw_resources
from sdperf.report.figures.stages import draw_components, draw_share_of_peak
from sdperf.report.figures.strip import draw_strip
from sdperf.report.figures.style import (
    figure_style,
    new_figure,
    render_inline_svg,
    render_png,
    render_svg,
)
from sdperf.report.figures.time import draw_time
from sdperf.report.figures.trend import draw_trend, list_points
from sdperf.report.figures.workers import draw_workers
from sdperf.report.pictures.pictures import embed, list_pairs, list_samples, locate_pictures
from tests.support.full_record import full_measurement
from tests.support.reported_runs import HOSTILE, real_run, save, slowed, with_images


def judged(*documents):
    return judge_machine(
        [parse_reported_run(f"run{n}.json", document) for n, document in enumerate(documents)]
    )


def texts(figure):
    return [text.get_text() for text in figure.findobj(match=lambda one: hasattr(one, "get_text"))]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_texts_are_readable_on_both_papers_and_no_outcome_shares_its_sign():
    for role in ("ink", "dim", "blue", "teal", "amber", "violet", "fail", "open", "good"):
        for side in (0, 1):
            pair = sorted(luminance(COLOURS[name][side]) for name in (role, "paper"))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (role, side)
    assert len(set(SIGNS.values())) == len(Outcome)
    assert len({light for light, _ in COLOURS.values()}) == len(COLOURS)


def test_baseline_and_current_are_drawn_where_they_were_measured():
    machine = judged(real_run(), slowed(real_run(), 1.6, only="fp32-sync-1w"))
    drawn = draw_time(machine)
    shown = texts(drawn.figure)
    assert "latency: one image per worker" in shown
    assert sum("+60.0 %" in text for text in shown) == 2
    case = machine.cases[0]
    xs = {
        round(float(x), 9)
        for ax in drawn.figure.axes
        for line in ax.lines
        for x in np.atleast_1d(line.get_xdata())
    }
    for value in (case.current_s, case.baseline_s, *case.current_range_s, *case.baseline_range_s):
        assert round(value / case.measurement.images_per_round, 9) in xs
    (row,) = [row for row in drawn.table.rows if row[0] == "latency[fp32-sync-1w]"]
    assert row[4] == "+60.0 %"


def test_components_add_up_to_the_profiled_image():
    machine = judged(real_run())
    drawn = draw_components(machine)
    measured = machine.cases[0].measurement
    widths = [patch.get_width() for patch in drawn.figure.axes[0].patches]
    assert sum(widths) == pytest.approx(measured.stages.total_s, rel=1e-6)
    assert {row[1] for row in drawn.table.rows} >= {"denoise", "decode_latents", "rest"}
    assert draw_share_of_peak(machine).table.rows[1][4] in ("compute-bound", "starved")


def test_workers_are_drawn_with_the_ceiling_of_overlap():
    drawn = draw_workers(judged(real_run()))
    assert {"throughput, images/s", "latency of an image, s", "peak memory, GiB"} <= set(
        texts(drawn.figure)
    )
    assert {"fp32 sync", "fp32 async"} <= set(texts(drawn.figure))
    asynchronous = [row for row in drawn.table.rows if "async" in row[0]]
    assert {row[5] for row in asynchronous} == {"nothing to overlap: no core is idle"}
    assert "CPU threads a worker" not in drawn.caption


def test_workers_of_other_threads_are_not_drawn_over_each_other():
    document = real_run()
    for number, one in enumerate(document["benchmarks"]):
        record = one["extra_info"]["sdperf"]
        if record["kind"] == "throughput":
            record["variant"]["threads"] = 3 + number % 2
    drawn = draw_workers(judged(document))
    drawn_ids = [row[0] for row in drawn.table.rows]
    assert drawn_ids
    assert len({one.split("-")[3] for one in drawn_ids}) == 1
    assert f"{drawn_ids[0].split('-')[3][:-1]} CPU threads a worker" in drawn.caption


def test_resources_show_every_curve_that_is_known_and_name_the_others():
    usage = full_measurement().resources
    curve = Curve(50.0, 90.0, 100.0, 0.0, 3, (0.0, 0.5, 1.0), (0.0, 50.0, 100.0))
    usage = dataclasses.replace(
        usage,
        window_s=1.0,
        tree_cpu_percent=curve,
        gpu_board_power_w=curve,
        gpu_board_utilisation_percent=None,
        gpu_soc_utilisation_percent=None,
    )
    drawn = draw_resources("resources", "a case", usage)
    shown = texts(drawn.figure)
    assert "CPU, cores busy" in shown
    assert "power, W" in shown
    assert "Not known on this machine: GPU busy" in drawn.caption
    assert (
        "CPU",
        "workers and pytest",
        "0.50 cores",
        "0.90 cores",
        "1.00 cores",
        "3",
    ) in drawn.table.rows


def test_the_cases_watched_are_one_image_alone_and_a_batch_on_all_workers():
    chosen = [case.short for case in select_watched(judged(real_run()))]
    assert chosen == ["latency[fp32-sync-1w]", "throughput[fp32-sync-2w]"]


def test_excluded_rounds_and_guards_are_on_the_strip():
    drawn = draw_strip(judged(real_run(precision="bf16")))
    assert any("excluded" in words for words in drawn.hints.values())
    assert "1 round was excluded (crosses" in drawn.caption
    assert "clock governor" in texts(drawn.figure)
    assert any("excluded" not in row[2] and row[2] != "none" for row in drawn.table.rows)


def test_a_page_gets_its_colours_from_the_page_and_its_ids_are_its_own():
    drawn = draw_components(judged(real_run()))
    svg = render_inline_svg(drawn.figure, "mine", "Time per component", drawn.hints)
    root = ET.fromstring(svg)
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert all(each.startswith("mine-") for each in ids)
    assert "var(--blue)" in svg
    assert not any(light in svg for light, _ in COLOURS.values())
    titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("denoise: ") for title in titles)
    assert root.get("role") == "img"
    assert "denoise" in "".join(root.itertext())


def test_papers_get_outlines_and_white_paper():
    drawn = draw_components(judged(real_run()))
    svg = render_svg(drawn.figure)
    assert svg == render_svg(drawn.figure)
    assert b"<text" not in svg
    pixels = decode_png(render_png(drawn.figure))
    assert pixels.shape[1] == 1520
    assert tuple(pixels[0, 0]) == (255, 255, 255)


def test_names_with_dollars_and_markup_are_drawn_as_they_are():
    document = real_run()
    for saved in document["benchmarks"]:
        saved["fullname"] += f"$\\frac{HOSTILE}"
    document["sdperf"]["outcomes"] = {}
    for drawn in draw_all(judged(document), locate_pictures([])):
        svg = render_inline_svg(drawn.figure, "x", drawn.title, drawn.hints)
        assert "<script" not in svg
        assert "<img" not in svg


@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_control_in_a_figures_text_is_no_broken_page():
    with figure_style():
        figure, (ax,) = new_figure(1, 1, 2.0)
        ax.set_title("red\x1b[31m \ufffe")
    root = ET.fromstring(render_inline_svg(figure, "f", "a figure", {}))
    assert "red?[31m ?" in "".join(root.itertext())


def test_images_that_differ_come_worst_first_and_each_once(tmp_path):
    document = with_images(real_run(), tmp_path)
    machine = judged(document)
    pairs = list_pairs(machine)
    assert pairs[0].image.prompt == "red apple"
    assert pairs[0].score.worst_tile_ssim == 0.49
    assert pairs[0].cases[-2:] == ("soundness[fp32]", "images[fp32]")
    keys = [(pair.image.prompt, pair.image.seed, pair.precision) for pair in pairs]
    assert len(keys) == len(set(keys))
    assert len(list_samples(machine)) == 8
    source = locate_pictures([save(tmp_path, document)])
    assert source.find(pairs[0].image.sha256) is not None
    assert source.find(pairs[0].score.against_sha256) is not None
    assert source.find("f" * 64) is None
    assert source.find("../../etc/passwd") is None


def test_small_pictures_are_exact_and_large_ones_fit():
    small = embed(np.zeros((64, 64, 3), np.uint8))
    assert small.is_exact
    assert small.uri.startswith("data:image/webp;base64,")
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    large = embed(noise, largest_px=128)
    assert not large.is_exact
    assert len(large.uri) < 40_000
    assert (large.width, large.height) == (512, 512)


def test_machines_are_compared_by_share_of_peak_and_images_per_joule():
    machines = [judged(real_run()), judged(real_run("h100-sd15-stages", None))]
    rows = {(row.case, row.platform): row for row in list_platforms(machines)}
    h100 = rows["latency fp16-sync-1w", "CUDA: NVIDIA H100 80GB HBM3"]
    assert h100.images_per_j == pytest.approx(1 / 284, rel=0.01)
    assert h100.energy_scope == "whole board"
    one = next(case.measurement for case in machines[0].cases)
    flop = sum(cost.flop for cost in one.limits.stages)
    peak = one.limits.peak.flop_per_s
    assert compute_share_of_peak(one) == pytest.approx(flop / one.stages.total_s / peak)
    assert draw_machines(machines[:1]) is None
    assert "share of peak" in draw_machines(machines).table.header


def make_series(step_at, count=40, factor=1.2):
    rng = np.random.default_rng(3)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        TrendPoint(
            run=number,
            measured_at=start + timedelta(days=number),
            commit=f"{number:08x}",
            value=math.exp(rng.normal(0, 0.01)) * (factor if number >= step_at else 1.0),
            environment={"torch": "2.12" if number < 10 else "2.13"},
        )
        for number in range(count)
    ]


def test_a_trend_shows_its_step_its_commits_and_the_update():
    trends = analyse_machine({"test_a": make_series(25)}, "m", METRICS["seconds"], 400)
    drawn = draw_trend(trends)
    shown = " ".join(texts(drawn.figure))
    (row,) = drawn.table.rows
    assert row[0] == "test_a"
    assert row[1].startswith("+")
    assert row[4] == "code"
    assert ".." in row[3]
    assert row[3] in shown
    assert "torch 2.12 -> 2.13" in shown


def test_noise_has_no_step():
    trends = analyse_machine({"test_a": make_series(99)}, "m", METRICS["seconds"], 400)
    assert draw_trend(trends).table.rows[0][1] == "no change of level"


def test_no_two_series_of_a_trend_have_one_title():
    series = {f"b/{file}.py::test_speed[1w]": make_series(25) for file in ("one", "two")}
    trends = analyse_machine(series, "m", METRICS["seconds"], 400)
    titles = [text for text in texts(draw_trend(trends).figure) if "speed[1w]" in text]
    assert sorted(titles) == [f"{file}.py::test_speed[1w], %" for file in ("one", "two")]


def test_saved_runs_make_a_trend_where_there_are_enough():
    runs = []
    for number in range(6):
        document = real_run()
        document["datetime"] = f"2026-11-{number + 1:02}T00:00:00+00:00"
        runs.append(parse_reported_run(f"{number}.json", document))
    series = list_points(runs)
    assert len(series) == 12
    assert len(series["benchmarks/test_latency.py::test_latency[fp32-sync-1w]"]) == 6
    assert list_points(runs[:2]) == {}


@pytest.mark.parametrize("render", [render_svg, render_png])
def test_a_figure_that_is_drawn_once_is_that_of_matplotlib(monkeypatch, render):
    machine = judged(real_run(), slowed(real_run(), 1.6))
    drawn_once = render(draw_time(machine).figure)
    monkeypatch.setattr(style, "_figure_class", lambda: Figure)
    figure = draw_time(machine).figure
    assert type(figure) is Figure
    assert render(figure) == drawn_once
