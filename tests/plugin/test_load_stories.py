"""What a session loads, draws and compares, counted: each pipeline, picture and pair once."""

import json
import threading
from collections import Counter

import pytest

from evidence.large_session.session import SEVEN_CASES
from sdperf.errors import ModelError
from sdperf.plugin.live import ahead
from sdperf.record import scores
from sdperf.run import worker


class Events:
    """What workers did, in order, and what the test process compared.

    Attributes:
        seen: ``("load", name)``, ``("draw", name, seed)`` and ``("recordimage", name)``; a
            pipeline's name is its precision, and its subject's where it has one.
        pairs: Content of the two pictures of each comparison.
        together: Threads that looked at pictures while a round ran.
    """

    def __init__(self):
        self.seen, self.pairs, self.together = [], [], []

    @property
    def loads(self):
        return [event[1] for event in self.seen if event[0] == "load"]

    def draws(self, name):
        return Counter(event[2] for event in self.seen if event[:2] == ("draw", name))


def name_of(spec):
    return "+".join(filter(None, (spec.precision, (spec.subject or "").rpartition(":")[2])))


@pytest.fixture
def events(monkeypatch):
    noted = Events()
    load, run_round, ask = (
        getattr(worker.loaded.LoadedPipeline, name) for name in ("__init__", "run_round", "ask")
    )
    names = {}

    def note_load(loaded, spec):
        names[loaded] = name_of(spec)
        noted.seen.append(("load", names[loaded]))
        load(loaded, spec)

    def note_round(loaded, request):
        noted.seen.extend(("draw", names[loaded], image.seed) for image in request.images)
        noted.together.extend(
            thread.name for thread in threading.enumerate() if "pictures" in thread.name
        )
        return run_round(loaded, request)

    def note_question(loaded, question):
        noted.seen.append((type(question).__name__.lower(), names[loaded]))
        return ask(loaded, question)

    compare = scores.compare_images

    def note_pair(baseline, current):
        noted.pairs.append((baseline.tobytes(), current.tobytes()))
        return compare(baseline, current)

    monkeypatch.setattr(worker.loaded.LoadedPipeline, "__init__", note_load)
    monkeypatch.setattr(worker.loaded.LoadedPipeline, "run_round", note_round)
    monkeypatch.setattr(worker.loaded.LoadedPipeline, "ask", note_question)
    monkeypatch.setattr(scores, "compare_images", note_pair)
    return noted


@pytest.fixture
def seven(bench, hosts, pytester):
    """Run the seven cases in bf16, four pictures a batch."""
    hosts.seconds |= {count: float(count) for count in range(1, 9)}

    def run(*arguments, suite=SEVEN_CASES, **changes):
        pytester.makepyfile(test_bench=suite)
        settings = {"precision": "bf16", "workers": "1", "steps": 1, "rounds": 1, "batch_rounds": 1}
        return bench("--sd-durations", *arguments, spawned=True, images=4, **settings | changes)

    return run


def test_seven_cases_load_each_pipeline_once_and_bf16_in_the_fresh_process_it_asks_for(
    seven, events, pytester, every_recording
):
    done = seven()
    done.assert_outcomes(passed=7)
    assert events.loads == ["fp32", "bf16", "bf16"]  # seven before
    assert set(events.draws("fp32").values()) == {1}
    assert len(events.draws("fp32")) == 8
    recorded = [events.seen.count(("recordimage", each)) for each in ("fp32", "bf16")]
    assert recorded == [8, 8]  # each picture once
    done.stdout.fnmatch_lines(["    3 model loads, none into a worker that had it"])
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    assert document["sdperf"]["durations"]["loads"] == {"fp32, worker 1": 1, "bf16, worker 1": 2}


def test_what_all_are_held_against_is_made_before_anything_is_timed(seven, events):
    seven()
    first_bf16 = events.seen.index(("load", "bf16"))
    assert all(event[1] == "bf16" for event in events.seen[first_bf16:])


def test_no_pair_of_pictures_is_compared_twice_and_none_beside_a_round(seven, events):
    seven(mode="sync,async")
    assert events.pairs
    assert max(Counter(events.pairs).values()) == 1
    assert events.together == []


@pytest.mark.long
def test_without_repeatability_there_are_two_loads(seven, events):
    seven("-k", "not repeatability")
    assert events.loads == ["fp32", "bf16"]


@pytest.mark.long
def test_a_latency_case_alone_draws_one_picture_to_be_held_against(seven, events):
    seven("-k", "latency")
    assert events.loads == ["fp32", "bf16"]
    assert list(events.draws("fp32").values()) == [1]
    assert ("recordimage", "fp32") not in events.seen


HELPED = """
def measure(sd_benchmark, name):
    getattr(sd_benchmark, name)()

def test_one(sd_benchmark):
    measure(sd_benchmark, "latency")

def test_two(sd_benchmark):
    measure(sd_benchmark, "throughput")

def test_images(sd_quality):
    getattr(sd_quality, "components")()
"""


@pytest.mark.long
def test_a_test_that_asks_through_a_helper_is_foreseen_to_ask_for_anything(seven, events):
    seven(suite=HELPED)
    assert events.loads == ["fp32", "bf16"]


@pytest.mark.long
def test_what_was_not_foreseen_is_made_when_it_is_asked_for(seven, events, monkeypatch):
    foreseen = seven()
    outcomes = [line for line in foreseen.outlines if line.startswith("7 cases:")]
    monkeypatch.setattr(ahead, "find_asked", lambda _: frozenset({"latency"}))
    monkeypatch.setattr("sdperf.plugin.collecting.find_asked", lambda _: frozenset({"latency"}))
    events.seen.clear()
    blind = seven()
    assert [line for line in blind.outlines if line.startswith("7 cases:")] == outcomes
    assert len(events.loads) > 3
    assert set(events.draws("fp32").values()) == {1}


@pytest.mark.long
def test_pictures_that_fp32_cases_made_are_not_drawn_again(seven, events):
    seven("-k", "(latency and fp32) or (throughput and bf16)", precision="fp32,bf16")
    assert events.loads == ["fp32", "bf16"]
    drawn = events.draws("fp32")
    picture_0 = min(drawn)
    assert [drawn[picture_0 + number] for number in (1, 2, 3)] == [1, 1, 1]


SUBJECT = """
def build(request):
    return request.load()
"""


@pytest.mark.long
def test_a_subject_has_a_third_pipeline_and_each_is_loaded_once(seven, events, pytester):
    pytester.makepyfile(mine=SUBJECT)
    done = seven("-k", "not repeatability", subject="mine:build")
    assert sorted(events.loads) == ["bf16+build", "fp32", "fp32+build"]
    assert events.loads[-1] == "bf16+build"
    done.stdout.fnmatch_lines(["    3 model loads, none into a worker that had it"])


@pytest.mark.long
def test_an_fp32_that_cannot_be_loaded_is_not_tried_for_every_picture(seven, events, monkeypatch):
    load = worker.loaded.LoadedPipeline.__init__

    def refuse(loaded, spec):
        if spec.precision == "fp32":
            events.seen.append(("load", "fp32"))
            raise ModelError("there is no room for it")
        load(loaded, spec)

    monkeypatch.setattr(worker.loaded.LoadedPipeline, "__init__", refuse)
    done = seven("-k", "latency or throughput or images or components")
    assert events.loads.count("fp32") <= 2  # for the pictures, and for the recording
    assert events.loads.count("bf16") == 1
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(["BROKEN  components*"])
