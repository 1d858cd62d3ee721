"""Studies in a real SQLite file: trials, resumption after a kill, joining, refusals."""

import contextlib
import dataclasses
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from sdperf.errors import ConfigurationError, GenerationError, RecordError
from sdperf.tune.question.question import StudyLimits
from sdperf.tune.study.opening import (
    begin_study,
    check_machine,
    check_question,
    describe_difference,
    find_study,
    list_studies,
)
from sdperf.tune.study.storage import (
    close_storage,
    describe_owner,
    is_gone,
    locate_storage,
    open_storage,
    require_optuna,
    show_url,
)
from sdperf.tune.study.study import RETRY_OF, retry
from sdperf.tune.trial.rig import TrialStart
from sdperf.tune.trial.tuning import draw_references, run_trials
from tests.support.databases import known_tables, unhurried_storage
from tests.support.tune_fakes import ABILITIES, DEFAULT, FakeRig, ask

__all__ = ["known_tables", "unhurried_storage"]

ROOT = Path(__file__).parents[3]
STEPS = {"steps": [str(steps) for steps in range(4, 21)]}


class View:
    def __init__(self):
        self.said = []
        self.shown = []

    def announce(self, what):
        self.said.append(what)

    def show_trial(self, trial, study, trials):
        self.shown.append(trial)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A file with Optuna's tables and no study, to copy: making the tables takes longer."""
    path = tmp_path_factory.mktemp("study") / "tune.db"
    storage = open_storage(make_url(f"sqlite:///{path}"), create=True, on_silence=retry)
    close_storage(storage)
    return path


@pytest.fixture
def new_url(tmp_path):
    return make_url(f"sqlite:///{tmp_path / 'tune.db'}")


@pytest.fixture
def url(database, new_url):
    shutil.copy(database, new_url.database)
    return new_url


def tune(study, rig=None, *, trials=6, sampler="tpe", seed=1, view=None):
    rig = rig or FakeRig()
    fails, rig.fails = rig.fails, lambda setting: None
    references = draw_references(study.question, rig)
    rig.fails = fails
    run_trials(
        study, rig, references, trials=trials, sampler=sampler, seed=seed, view=view or View()
    )
    return study.list_trials()


def begin(url, limits=None, search=STEPS):
    return begin_study(url, "s", ask(limits, search), "a machine")


def test_the_default_comes_first_and_nothing_is_tried_twice(url):
    view = View()
    trials = tune(begin(url), trials=4, view=view)
    assert trials[0].setting == DEFAULT
    assert trials[0].tried.fidelity.ssim == 1.0
    settings = [one.setting for one in trials]
    assert len(set(settings)) == len(settings) == 4
    assert [one.number for one in view.shown] == list(range(4))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_small_space_is_tried_whole_and_then_it_ends(url, sampler):
    view = View()
    study = begin(url, search={"steps": ["5", "10"]})
    assert (
        len([one for one in tune(study, sampler=sampler, view=view, trials=30) if one.tried]) == 3
    )
    assert "every setting of the search was tried" in view.said


def test_a_resumed_study_goes_on_where_it_was(url):
    first = tune(begin(url), trials=2)
    again = find_study(url, "s")
    second = tune(again, trials=4)
    assert second[:2] == first
    assert again.count_ended() == 4
    assert len({one.setting for one in second}) == 4


@pytest.mark.parametrize(
    "limits",
    [
        StudyLimits(),
        StudyLimits(min_ssim=0.5),
        StudyLimits(max_seconds=1.5),
        StudyLimits(max_memory_bytes=2**29),
    ],
)
def test_every_aim_is_kept_with_optunas_own_values_and_constraints(url, limits):
    study = begin(url, limits)
    trials = tune(study, trials=3)
    frozen = study.study.get_trials()
    for ours, theirs in zip(trials, frozen, strict=True):
        assert dict(theirs.constraints) == pytest.approx(dict(ours.tried.violations))
        assert (theirs.values is not None) == (ours.ending == "complete")
    if study.question.aim == "front":
        best = {one.number for one in study.study.best_trials}
        feasible = [one for one in trials if one.tried.point is not None]
        assert best <= {one.number for one in feasible}


def test_what_fails_is_a_trial_and_no_end(url):
    def fail(setting):
        if setting.num_inference_steps < 12:
            raise GenerationError("the device ran out of memory")

    trials = tune(begin(url), FakeRig(fails=fail), trials=3)
    endings = {one.ending for one in trials}
    assert endings >= {"complete", "infeasible"}
    reasons = {one.tried.reason for one in trials if one.ending == "infeasible"}
    assert reasons == {"the device ran out of memory"}


def test_ctrl_c_keeps_everything_and_tries_the_setting_again(url):
    study = begin(url)
    calls = []

    def interrupt(setting):
        calls.append(setting)
        if len(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(study, FakeRig(fails=interrupt), trials=20)
    before = study.list_trials()
    cut_off = [one for one in before if one.ending == "cut off"]
    assert [one.setting for one in cut_off] == [calls[-1]]
    assert study.count_ended() == len(before) - 2, "one was cut off, its retry waits"
    after = tune(find_study(url, "s"), trials=study.count_ended() + 1)
    assert [one.setting for one in after if one.tried][-1] == calls[-1]


def run_tuner(url, trials, delay_s=0.0):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.fake_tuner", str(url), str(trials), str(delay_s)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_after_kill_9_nothing_is_lost_and_the_trial_is_tried_again(url):
    process = run_tuner(url, 50, 0.05)
    with contextlib.ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(process.kill)
        for line in process.stdout:
            if line.startswith("trial 3"):
                break
        next(line for line in process.stdout if line.startswith("trying"))
        process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.stderr.close()
    study = find_study(url, "shared")
    before = study.list_trials()
    assert [one.ending for one in before[:4]].count("running") == 0
    (killed,) = (one for one in before if one.ending == "running")
    view = View()
    after = tune(study, view=view, trials=study.count_ended() + 2)
    assert after[: killed.number] == before[: killed.number]
    assert after[killed.number].ending == "cut off"
    assert "1 cut off by a process that is gone" in view.said[0]
    settings = [one.setting for one in after if one.tried is not None]
    assert killed.setting in settings, "the setting that was under way is tried after all"


def test_a_setting_that_was_cut_off_twice_is_left_alone(url):
    study = begin(url)
    study.enqueue(DEFAULT, **{RETRY_OF: 0})

    def interrupt(setting):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(study, FakeRig(fails=interrupt))
    assert not [one for one in study.list_trials() if one.ending == "waiting"]


def test_owners_of_other_machines_are_never_taken_for_gone():
    ours = describe_owner()
    assert not is_gone(ours)
    assert is_gone(ours | {"started": ours["started"] - 100})
    assert is_gone(ours | {"pid": 2**22 + 1})
    assert is_gone(ours | {"booted": ours["booted"] - 1000})
    assert not is_gone(ours | {"host": "elsewhere", "pid": 2**22 + 1})
    assert not is_gone(None)
    assert not is_gone({"host": ours["host"]})


def test_times_of_two_kinds_of_machine_are_not_mixed(url):
    study = begin(url)
    check_machine(study, "a machine")
    with pytest.raises(ConfigurationError, match="another kind of machine"):
        check_machine(study, "a faster machine")
    with pytest.raises(ConfigurationError, match="another kind of machine"):
        begin_study(url, "s", ask(search=STEPS), "a faster machine")


def test_another_question_is_refused_with_what_differs(url):
    begin(url)
    with pytest.raises(ConfigurationError, match=r"limits\.min_ssim: null there, 0\.9 here"):
        begin_study(url, "s", ask(StudyLimits(min_ssim=0.9), STEPS), "a machine")
    question = ask(search=STEPS)
    moved = dataclasses.replace(
        question, workload=dataclasses.replace(question.workload, model="/elsewhere")
    )
    assert describe_difference(question, moved) == ""
    assert "model_hash" in describe_difference(
        question, dataclasses.replace(question, model_hash="other")
    )


def test_studies_are_found_by_name(new_url):
    assert find_study(new_url, "s") is None
    with pytest.raises(ConfigurationError, match="no study here"):
        list_studies(new_url)
    begin(new_url)
    assert find_study(new_url, "other") is None
    assert list_studies(new_url) == ["s"]
    assert find_study(new_url, "s").question == ask(search=STEPS)


def test_a_strangers_study_and_file_are_refused(url, tmp_path):
    import optuna

    begin(url)
    storage = optuna.storages.RDBStorage(str(url))
    optuna.create_study(storage=storage, study_name="theirs")
    close_storage(storage)
    with pytest.raises(RecordError, match="not begun by sdperf"):
        find_study(url, "theirs")
    (tmp_path / "text.db").write_text("this is no database, however long it may be" * 100)
    with pytest.raises(RecordError, match="cannot be used"):
        find_study(make_url(f"sqlite:///{tmp_path / 'text.db'}"), "s")


def list_open_files(name):
    return [file for file in psutil.Process().open_files() if file.path.endswith(name)]


def test_no_connection_stays_open_once_it_is_not_used(url, tmp_path):
    study = begin(url)
    tune(study, trials=2)  # trials have a heartbeat, which is a thread with a session of its own
    study.list_trials()
    assert list_open_files(url.database) == []
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as raw:
        raw.execute("CREATE TABLE version_info (schema_version INTEGER)")
        raw.execute("CREATE TABLE studies (theirs TEXT)")
        raw.commit()
    with pytest.raises(RecordError) as refused:
        find_study(make_url(f"sqlite:///{other}"), "s")
    assert list_open_files("other.db") == [], refused.value


def test_hostile_records_are_refused(url):
    study = begin(url)
    tune(study, trials=2)
    number = study.study.trials[1]._trial_id
    study.close()
    with contextlib.closing(sqlite3.connect(url.database)) as raw:
        raw.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = ? AND key = ?",
            ('{"state": "complete", "seconds": "soon"}', number, "sdperf:tried"),
        )
        raw.commit()
    with pytest.raises(RecordError, match="Tried"):
        find_study(url, "s").list_trials()


@pytest.mark.parametrize(
    "text", ["nonsense://x", "postgresql://", "sqlite://", "://", "sqlite:///:memory:"]
)
def test_storages_that_cannot_be_used(text, tmp_path):
    with pytest.raises((ConfigurationError, RecordError)):
        find_study(locate_storage(text, tmp_path), "s")


def test_the_default_storage_and_passwords(tmp_path):
    assert locate_storage(None, tmp_path).database == str(tmp_path / ".sdperf" / "tune.db")
    shown = show_url(locate_storage("postgresql://me:secret@host/db", tmp_path))
    assert "secret" not in shown
    assert shown.startswith("postgresql+psycopg://")


def test_a_missing_optuna_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigurationError, match=r"sdperf\[tune\]"):
        require_optuna()


def test_importances_say_what_decides(url):
    study = begin_study(url, "s", ask(search={**STEPS, "guidance": ["1", "2", "3"]}), "a machine")
    assert study.compute_importances() == {}
    tune(study, trials=6)
    for shares in study.compute_importances().values():
        assert shares["steps"] > shares["guidance"]


def test_importing_the_package_loads_no_torch():
    code = (
        "import sys, sdperf.tune.trial.tuning, sdperf.tune.confirming, sdperf.tune.summary\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def drop_engines(url):
    """Make of a study's file what an sdperf wrote that knew no engines there."""
    with contextlib.closing(sqlite3.connect(url.database)) as database, database:
        for table in ("study_user_attributes", "trial_user_attributes"):
            rows = database.execute(f"select rowid, value_json from {table}").fetchall()
            for row, value in rows:
                older = json.loads(value, object_hook=forget_engine)
                database.execute(
                    f"update {table} set value_json = ? where rowid = ?", (json.dumps(older), row)
                )


def forget_engine(found):
    new = ("engine", "start_s", "conversion_s")
    return {key: value for key, value in found.items() if key not in new}


def test_a_study_from_before_engines_is_read_and_goes_on(url):
    study = begin_study(url, "s", ask(search=STEPS), "a machine")
    tune(study, trials=2)
    before = study.list_trials()
    study.close()
    drop_engines(url)
    older = find_study(url, "s")
    assert "engine" not in str(older.study.user_attrs)
    assert older.list_trials() == before
    assert older.question == ask(search=STEPS)
    assert {one.setting.engine for one in older.list_trials()} == {"torch"}
    check_question(older, "s", ask(search=STEPS), hint="")
    tune(older, trials=3)
    assert [one.number for one in older.list_trials() if one.tried] == [0, 1, 2]
    older.close()


def test_a_study_tries_each_engine_and_keeps_what_starting_cost(url):
    abilities = dataclasses.replace(ABILITIES, engines=("torch", "onnx", "openvino"))
    question = ask(search={"steps": ["8"], "engine": ["auto"]}, abilities=abilities)
    study = begin_study(url, "s", question, "a machine")
    rig = FakeRig(seconds=lambda setting: 1.0 if setting.engine == "torch" else 0.5)
    rig.start = lambda setting: TrialStart(3.0, None if setting.engine == "torch" else 30.0)
    tune(study, rig, trials=3)
    trials = study.list_trials()
    assert {one.setting.engine for one in trials} == {"torch", "onnx", "openvino"}
    for one in trials:
        expected = None if one.setting.engine == "torch" else 30.0
        assert (one.tried.start_s, one.tried.conversion_s) == (3.0, expected)
    study.close()
    with contextlib.closing(find_study(url, "s")) as again:
        assert again.list_trials() == trials
