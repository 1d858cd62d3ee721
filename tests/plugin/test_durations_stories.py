"""No model is loaded twice for the same worker and precision, and the time has a breakdown."""

import dataclasses
import json
from collections import Counter

import pytest

from sdperf.images.png import decode_png, encode_png
from sdperf.run import worker
from sdperf.run.machine import LiveMachine
from sdperf.run.pictures.images import SessionImages
from tests.support.stories import unwrap

SUITE = """
import pytest

def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_throughput(sd_benchmark):
    sd_benchmark.throughput()

@pytest.mark.sd_matrix("precision")
def test_stage(sd_benchmark):
    sd_benchmark.stage("denoise")

def test_soundness(sd_quality):
    sd_quality.soundness()

def test_components(sd_quality):
    sd_quality.components()

def test_trajectory(sd_quality):
    sd_quality.trajectory()

def test_images(sd_quality):
    sd_quality.images()

def test_batch(sd_quality):
    sd_quality.batch()
"""


@pytest.fixture
def loads(monkeypatch):
    """Counts what is loaded, from the worker's side."""
    counted = Counter()
    load = worker.loaded.LoadedPipeline.__init__

    def count(loaded, spec):
        counted[spec.precision] += 1
        load(loaded, spec)

    monkeypatch.setattr(worker.loaded.LoadedPipeline, "__init__", count)
    return counted


def test_a_whole_suite_loads_each_precision_once_for_each_worker(bench, hosts, loads, pytester):
    pytester.makepyfile(test_bench=SUITE)
    hosts.seconds[6] = 6.0  # eight images, two of which the batch has made
    done = bench(
        "--sd-durations",
        spawned=True,
        precision="fp32,bf16",
        mode="sync,async",
        workers="1,2",
        steps=1,
        rounds=1,
        batch_rounds=1,
    )
    assert loads == {"fp32": 2, "bf16": 2}
    done.stdout.fnmatch_lines(
        [
            "durations",
            "    start-up *%",
            "    measured rounds *%",
            "*% of the time after start-up lies outside rounds (warm-up, measured, profiled)",
            "    4 model loads, none into a worker that had it",
        ]
    )
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    durations = document["sdperf"]["durations"]
    assert durations["loads"] == {
        f"{precision}, worker {number}": 1 for precision in ("fp32", "bf16") for number in (1, 2)
    }
    assert durations["reloads"] == []
    assert {"start-up", "model loads", "measured rounds", "quality"} <= set(durations["seconds"])


def test_processes_import_before_they_are_wanted(bench, hosts, pytester, monkeypatch):
    pytester.makepyfile(test_bench=SUITE)
    hosts.seconds[6] = 6.0
    events = []
    load = worker.loaded.LoadedPipeline.__init__
    monkeypatch.setattr(worker, "import_ahead", lambda _: events.append("import"))
    monkeypatch.setattr(
        worker.loaded.LoadedPipeline,
        "__init__",
        lambda loaded, spec: (events.append(spec.precision), load(loaded, spec))[1],
    )
    monkeypatch.setattr(LiveMachine, "look_at_rest", lambda machine: events.append("rest"))
    bench(
        spawned=True,
        precision="fp32,bf16",
        workers="1,2",
        steps=1,
        rounds=1,
        batch_rounds=1,
        guards="warn",
    )
    # Two for each precision, whose second worker is the fresh process of the quality suite; the
    # machine is looked at before it is busy with them.
    assert events[0] == "rest"
    in_turn = [event for event in events if event != "rest"]
    assert in_turn == ["import"] * 4 + ["fp32"] * 2 + ["bf16"] * 2


def test_processes_that_no_memory_is_left_for_wait_for_their_pipeline(
    bench, hosts, pytester, monkeypatch
):
    pytester.makepyfile(test_bench="def test_it(sd_benchmark):\n    sd_benchmark.latency()\n")
    events = []
    load = worker.loaded.LoadedPipeline.__init__
    monkeypatch.setattr("sdperf.run.stock.count_that_fit", lambda: 1)
    monkeypatch.setattr(worker, "import_ahead", lambda _: events.append("import"))
    monkeypatch.setattr(
        worker.loaded.LoadedPipeline,
        "__init__",
        lambda loaded, spec: (events.append(spec.precision), load(loaded, spec))[1],
    )
    bench(spawned=True, precision="fp32,bf16", workers="1", rounds=1)
    assert events == ["import", "fp32", "import", "bf16"]


def test_sixteen_bits_alone_load_fp32_once_to_compare_with(bench, hosts, loads, pytester):
    pytester.makepyfile(test_bench=SUITE)
    hosts.seconds[8] = 8.0
    done = bench(
        "--sd-durations",
        "-k",
        "soundness or components or images",
        spawned=True,
        precision="bf16",
        workers=1,
    )
    assert loads == {"fp32": 1, "bf16": 1}
    done.stdout.fnmatch_lines(["    2 model loads, none into a worker that had it"])


def test_a_fresh_process_that_was_asked_for_is_no_waste(bench, hosts, pytester):
    pytester.makepyfile(test_bench="def test_it(sd_benchmark):\n    sd_benchmark.latency()\n")
    done = bench("--sd-durations", spawned=True, workers=1, processes=2)
    done.stdout.fnmatch_lines(["    2 model loads, none into a worker that had it"])


def test_unasked_nothing_is_printed(bench, hosts, pytester):
    pytester.makepyfile(test_bench="def test_it(sd_benchmark):\n    sd_benchmark.latency()\n")
    done = bench(spawned=True, workers=1)
    done.stdout.no_fnmatch_line("durations")


REPEATED = """
def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_throughput(sd_benchmark):
    sd_benchmark.throughput()

def test_repeatability(sd_quality):
    sd_quality.repeatability()
"""


def test_a_second_worker_has_been_a_fresh_process(bench, hosts, loads, pytester):
    pytester.makepyfile(test_bench=REPEATED)
    hosts.seconds[6] = 6.0
    done = bench("--sd-durations", spawned=True, workers="1,2", rounds=1, batch_rounds=1)
    assert loads == {"fp32": 2}
    done.stdout.fnmatch_lines(["    2 model loads, none into a worker that had it"])
    done.assert_outcomes(passed=5)


def test_where_that_made_another_image_it_is_seen(bench, hosts, pytester, monkeypatch):
    pytester.makepyfile(test_bench=REPEATED)
    hosts.seconds[6] = 6.0
    keep = SessionImages.keep_first

    def damage(images, precision, engine, image, delivered):
        upside_down = encode_png(decode_png(delivered.png)[::-1].copy())
        keep(images, precision, engine, image, dataclasses.replace(delivered, png=upside_down))

    monkeypatch.setattr(SessionImages, "keep_first", damage)
    done = bench(spawned=True, workers="1,2", rounds=1, batch_rounds=1)
    assert done.ret == 1
    unwrap(done).fnmatch_lines(["DEGRADED  repeatability*the fresh-process image, floor*"])


def test_the_quality_suite_takes_the_images_that_watched_rounds_made(
    bench, hosts, pytester, monkeypatch
):
    pytester.makepyfile(test_bench=SUITE)
    hosts.seconds |= {4: 4.0, 6: 6.0}
    made = []
    run_round = worker.loaded.LoadedPipeline.run_round

    def note(loaded, request):
        made.extend(image.seed for image in request.images)
        return run_round(loaded, request)

    monkeypatch.setattr(worker.loaded.LoadedPipeline, "run_round", note)
    bench(
        "-k", "throughput or images", spawned=True, workers="1", rounds=1, batch_rounds=1, images=4
    )
    # First call, warm-up, a timed round of four, and a watched one of the next four; none after it.
    # Between them four that nobody can have made before, with seeds of their own.
    asked = [seed - made[0] for seed in made if abs(seed - made[0]) < 8]
    assert asked == [0, 0, *range(4), *range(4, 8)]
    assert len(made) == len(asked) + 4
