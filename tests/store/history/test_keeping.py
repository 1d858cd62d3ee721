import dataclasses
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from sdperf.errors import ConfigurationError, RecordError
from sdperf.store.history import database as database_module
from sdperf.store.history import importing
from sdperf.store.history.database import open_database
from sdperf.store.history.extraction import extract_run
from sdperf.store.history.importing import import_files, list_run_files, require_places
from sdperf.store.history.pruning import plan_pruning, prune_runs
from sdperf.store.history.reading import (
    Filters,
    count_runs,
    find_run,
    list_runs,
    load_document,
    load_results,
)
from sdperf.store.history.series import list_series, load_environments, load_series
from sdperf.store.history.writing import Kept, keep_runs
from sdperf.store.runs import ACCEPTED_KEY
from tests.support.saved_history import ACCEPTANCE, FULL, START, make_run, write

ROOT = Path(__file__).parents[3]
TWO_WRITERS = """
import json, multiprocessing, sys
from pathlib import Path
from sdperf.store.history.database import open_database
from sdperf.store.history.importing import import_files, list_run_files

def write(folder):
    database = open_database(sys.argv[1], create=True)
    both.wait(60)  # both made or found the tables
    report = import_files(database, list_run_files([Path(folder)]))
    told.put((report.added, report.known))

forking = multiprocessing.get_context("fork")
both, told = forking.Barrier(2), forking.SimpleQueue()
writers = [forking.Process(target=write, args=(folder,)) for folder in sys.argv[2:]]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()
print(json.dumps([[writer.exitcode for writer in writers], [told.get() for _ in writers]]))
"""


def keep(database, *documents):
    return keep_runs(database, [extract_run(one, "test") for one in documents])


def test_a_run_comes_back_as_it_was(database):
    document = make_run(3, outcomes={FULL: "SLOWER", "dead": "BROKEN"}, void="moody machine")
    assert keep(database, document) == Kept(1, 0)
    (head,) = list_runs(database)
    assert (head.void, head.branch, head.commit_id) == ("moody machine", "main", f"{3:040x}")
    assert head.outcomes == {"SLOWER": 1, "BROKEN": 1}
    assert head.machines[0].startswith("cpu--test-chip")
    assert load_document(database, head.id) == document
    results = load_results(database, head.id)
    assert results[FULL].seconds_per_image == pytest.approx(1.03)
    assert results["dead"].seconds_per_image is None


def test_the_same_content_is_kept_once_and_its_acceptance_noted(database):
    document = make_run(1)
    assert keep(database, document, document) == Kept(1, 1)
    assert keep(database, document | {ACCEPTED_KEY: ACCEPTANCE}) == Kept(0, 1)
    (head,) = list_runs(database)
    assert head.is_accepted


def test_a_batch_that_fails_leaves_nothing(database):
    good, bad = (extract_run(make_run(number), "x") for number in (1, 2))
    with pytest.raises(RecordError, match="cannot be used"):
        keep_runs(database, [good, dataclasses.replace(bad, source=None)])
    assert count_runs(database) == 0


def test_hostile_files_are_named_and_the_others_go_in(database, tmp_path):
    folder = tmp_path / "runs"
    for number in range(5):
        write(folder / "machine", number)
    (folder / "broken.json").write_text('{"benchmarks": [')
    (folder / "list.json").write_text("[]")
    (folder / "nan.json").write_text('{"benchmarks": NaN}')
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "image.png").write_bytes(b"not looked at")
    report = import_files(database, list_run_files([folder]))
    assert (report.added, report.known) == (5, 0)
    assert [path.name for path, _ in report.refused] == [
        "broken.json",
        "deep.json",
        "list.json",
        "nan.json",
    ]
    assert all(path.name in reason for path, reason in report.refused)
    again = import_files(database, list_run_files([folder]))
    assert (again.added, again.known, len(again.refused)) == (0, 5, 4)


def test_a_place_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        require_places([tmp_path, tmp_path / "absent"])


def test_several_processes_read_what_one_would(file, tmp_path, monkeypatch):
    paths = [write(tmp_path / "runs", number) for number in range(30)]
    monkeypatch.setattr(importing, "BATCH_FILES", 4)
    seen = []
    report = import_files(file, paths, processes=2, show=lambda report: seen.append(report.added))
    assert report.added == 30
    assert seen == [4, 8, 12, 16, 20, 24, 28, 30]
    assert [head.measured_at for head in list_runs(file)] == [
        START + timedelta(days=29 - number) for number in range(30)
    ]


def test_large_files_end_a_batch_early(tmp_path, monkeypatch):
    paths = [write(tmp_path, number) for number in range(4)]
    monkeypatch.setattr(importing, "BATCH_BYTES", int(paths[0].stat().st_size * 1.5))
    assert [len(chunk) for chunk in importing._divide(iter(paths))] == [2, 2]


def test_two_writers_at_once_lose_and_double_nothing(url, tmp_path):
    for number in range(60):
        write(tmp_path / "left", number)
    for number in range(30, 90):
        write(tmp_path / "right", number)
    done = subprocess.run(
        [sys.executable, "-c", TWO_WRITERS, url, str(tmp_path / "left"), str(tmp_path / "right")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    codes, counts = json.loads(done.stdout)
    assert codes == [0, 0], done.stderr
    database = open_database(url, create=False)
    assert count_runs(database) == 90
    assert sum(added for added, _ in counts) == 90
    assert sum(known for _, known in counts) == 30
    assert len(list_series(database)) == 1
    database.close()


def test_a_writer_waits_for_another_only_so_long(url, monkeypatch):
    monkeypatch.setattr(database_module, "BUSY_S", 1)
    first, second = (open_database(url, create=True) for _ in range(2))
    run = extract_run(make_run(1), "x")
    with first.writing(), pytest.raises(RecordError, match=r"locked|lock timeout"):
        keep_runs(second, [run])
    assert keep_runs(second, [run]) == Kept(1, 0)
    first.close()
    second.close()


def test_runs_are_filtered(database):
    keep(
        database,
        make_run(1),
        make_run(2, cases={"test_100%_a": 1.0}),
        make_run(3, extra={"commit_info": {"id": "abc", "branch": "topic"}}),
    )

    def found(**filters):
        return [head.measured_at.day - 1 for head in list_runs(database, Filters(**filters))]

    assert found() == [3, 2, 1]
    assert found(branch="topic") == [3]
    assert found(commit="ab") == [3]
    assert found(commit="a_") == []
    assert found(case="100%") == [2]
    assert found(case="test_1*a") == [2]
    assert found(case="1000") == []
    assert found(since=START + timedelta(days=2)) == [3, 2]
    assert found(before=START + timedelta(days=2)) == [1]
    assert len(list_runs(database, limit=2)) == 2


def test_a_run_is_found_by_number_hash_or_commit(database):
    keep(database, make_run(1, commit="abcdef"), make_run(2, commit="abc999"))
    second, first = list_runs(database)
    assert find_run(database, str(first.id)) == first
    assert find_run(database, second.content_sha256[:12]) == second
    assert find_run(database, "abcd") == first
    for name, message in (("abc", "2 runs"), ("zzz", "no runs"), ("%", "no runs"), ("", "no runs")):
        with pytest.raises(ConfigurationError, match=message):
            find_run(database, name)


def test_a_series_is_its_latest_results_and_its_first(database):
    keep(database, *(make_run(number) for number in range(30)))
    keep(database, make_run(40, void="moody"), make_run(-1, void="moody"))
    (key,) = list_series(database, "latency")
    assert key.setup["workload"]["num_inference_steps"] == 20
    results = load_series(database, key.id, last=5, first=3)
    assert [result.measured_at.timetuple().tm_yday - 1 for result in results] == [
        0,
        1,
        2,
        26,
        27,
        28,
        29,
        40,
    ]
    assert [result.counts for result in results] == [True] * 7 + [False]
    environments = load_environments(database)
    assert environments[results[0].environment_id].document["packages"]["torch"] == "2.13.0+cpu"
    assert list_series(database, "nothing") == []
    assert list_series(database, machine="test-chip") == [key]
    assert load_series(database, key.id, last=5, branch="other") == []


def test_another_workload_is_another_series(database):
    other = make_run(2)
    other["benchmarks"][0]["extra_info"]["sdperf"]["workload"]["num_inference_steps"] = 30
    keep(database, make_run(1), other)
    assert len(list_series(database)) == 2


def test_pruning_leaves_anchors_and_baselines(database):
    keep(database, *(make_run(number) for number in range(20)))
    keep(database, make_run(10, extra={ACCEPTED_KEY: ACCEPTANCE}))
    plan = plan_pruning(database, Filters(), keep_latest=5, anchor_runs=3)
    assert len(plan.run_ids) == 20 - 5 - 3 - 1
    assert plan.anchors == 4
    assert prune_runs(database, plan.run_ids) == 11
    days = sorted(head.measured_at.timetuple().tm_yday - 1 for head in list_runs(database))
    assert days == [0, 1, 2, 10, 15, 16, 17, 18, 19]
    assert plan_pruning(database, Filters(), keep_latest=5, anchor_runs=3).run_ids == ()


def test_pruning_documents_keeps_figures(database):
    keep(database, *(make_run(number) for number in range(4)))
    ids = [head.id for head in list_runs(database)]
    assert prune_runs(database, ids[1:], only_documents=True) == 3
    assert load_document(database, ids[0]) is not None
    assert load_document(database, ids[1]) is None
    (key,) = list_series(database)
    assert len(load_series(database, key.id, last=10)) == 4


def test_names_that_look_like_sql_are_only_names(database):
    name = "test'; DROP TABLE runs; --[é]"
    keep(database, make_run(1, cases={name: 1.0}))
    (head,) = list_runs(database)
    assert list(load_results(database, head.id)) == [name]
    assert load_document(database, head.id)["benchmarks"][0]["fullname"] == name
