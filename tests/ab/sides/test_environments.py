import fcntl
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from sdperf.ab.sides import environments
from sdperf.ab.sides.environments import MARKER, EnvironmentStore, locate_environments, run_aloud
from sdperf.ab.sides.present import read_present_environment
from sdperf.errors import ConfigurationError, PackageError
from sdperf.folders import try_lock


def make_wheel(folder, version, requires=()):
    """Write a wheel of a package that knows its version."""
    info = f"planted_sd-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: planted-sd\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {one}\n" for one in requires
    )
    with zipfile.ZipFile(folder / f"planted_sd-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("planted_sd.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def present():
    return read_present_environment()


@pytest.fixture
def store(present, tmp_path):
    """A store whose pip only pretends: it writes what a wheel would hold."""
    return EnvironmentStore(tmp_path / "environments", present, run=pretend_pip)


def pretend_pip(command, note, _held):
    (own,) = Path(command[0]).parents[1].glob("lib/python*/site-packages")
    note("Processing\n")
    for requirement in command:
        if "==" in requirement:
            name, version = requirement.split("==")
            info = own / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir(exist_ok=True)
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (info / "METADATA").write_text(metadata)
            (own / f"{name.replace('-', '_')}.py").write_text(f"VERSION = {version!r}\n")
    return 0


def ask(python, code):
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    ).stdout.strip()


def count_builds(store):
    said = []
    counting = replace(store, say=said.append)
    return counting, lambda: sum("making an environment" in line for line in said)


def test_versions_lie_beside_each_other_over_the_present_environment(present, tmp_path):
    """With pip itself, and wheels in a folder: no network."""
    make_wheel(tmp_path, "1.0")
    make_wheel(tmp_path, "2.0")
    make_wheel(tmp_path, "3.0", requires=("numpy<1",))
    store = EnvironmentStore(
        tmp_path / "environments", present, ("--no-index", f"--find-links={tmp_path}")
    )
    with (
        store.opened(["planted-sd==1.0"]) as (old, old_record),
        store.opened(["planted-sd==2.0"]) as (new, new_record),
    ):
        versions = [ask(one, "import planted_sd; print(planted_sd.VERSION)") for one in (old, new)]
        assert versions == ["1.0", "2.0"]
        assert (old_record.versions, new_record.versions) == (
            {"planted-sd": "1.0"},
            {"planted-sd": "2.0"},
        )
        where = ask(new, "import importlib.util as u; print(u.find_spec('numpy').origin)")
        assert where.startswith(present.folders), "unaffected packages were installed again"
        assert ask(new, "import sys; print(sys.version)") == sys.version
    here = ask(sys.executable, "import importlib.util as u; print(u.find_spec('planted_sd'))")
    assert here == "None"
    with pytest.raises(PackageError) as error, store.opened(["planted-sd==9.9"]):
        pass
    assert "planted-sd==9.9" in error.value.what
    assert "1.0, 2.0" in error.value.got
    with pytest.raises(PackageError), store.opened(["planted-sd==3.0"]):
        pass
    assert sum(one.record is None for one in store.list_environments()) == 2


def test_an_environment_is_built_once(store):
    store, builds = count_builds(store)
    for _ in range(2):
        with store.opened(["planted-sd==1.0"]):
            pass
    assert builds() == 1


@pytest.mark.parametrize("damage", ["no marker", "half a marker", "no interpreter", "no package"])
def test_what_was_killed_half_way_is_built_again(store, damage):
    with store.opened(["planted-sd==1.0"]) as (python, _):
        folder = python.parents[1]
    if damage == "no marker":
        (folder / MARKER).unlink()
    elif damage == "half a marker":
        (folder / MARKER).write_text('{"requirements": ["pla')
    elif damage == "no interpreter":
        python.unlink()
    else:
        (module,) = folder.glob("lib/*/site-packages/planted_sd-1.0.dist-info/METADATA")
        module.unlink()
    again, builds = count_builds(store)
    with again.opened(["planted-sd==1.0"]) as (python, _):
        assert ask(python, "import planted_sd; print(planted_sd.VERSION)") == "1.0"
    assert builds() == 1


def test_another_package_below_completes_the_environment_and_does_not_begin_anew(store):
    with store.opened(["planted-sd==1.0"]) as (python, before):
        kept = python.parents[1] / "kept"
        kept.touch()
    again, builds = count_builds(replace(store, below=replace(store.below, packages="new")))
    with again.opened(["planted-sd==1.0"]) as (_, after):
        assert (before.below, after.below) == (store.below.packages, "new")
    assert builds() == 1
    assert kept.exists()


def test_another_interpreter_index_or_version_is_another_environment(store):
    def folder_of(store, *requirements):
        return store._compute_key(requirements)

    same = folder_of(store, "a==1", "b==2")
    assert folder_of(store, "b==2", "a==1") == same
    for other in (
        folder_of(store, "a==1", "b==3"),
        folder_of(replace(store, pip_options=("--pre",)), "a==1", "b==2"),
        folder_of(replace(store, below=replace(store.below, python="/x")), "a==1", "b==2"),
        folder_of(replace(store, below=replace(store.below, folders=())), "a==1", "b==2"),
    ):
        assert other != same


def test_a_folder_that_cannot_be_written_is_told(store, tmp_path):
    (tmp_path / "file").touch()
    store = replace(store, folder=tmp_path / "file" / "environments")
    with pytest.raises(ConfigurationError, match="can be written"), store.opened(["a==1"]):
        pass


def test_a_second_process_waits_for_the_one_that_builds(store):
    with store.opened(["planted-sd==1.0"]):
        pass
    said, pauses = [], []
    lock_path = store.folder / f"{store._compute_key(['planted-sd==1.0'])}.lock"
    with lock_path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def pause(seconds):
            pauses.append(seconds)
            if len(pauses) == 3:
                fcntl.flock(held, fcntl.LOCK_UN)

        with replace(store, say=said.append, wait_s=pause).opened(["planted-sd==1.0"]):
            pass
    assert len(pauses) == 3
    assert said == ["planted-sd==1.0: another process has it open, waiting"]


def test_two_processes_use_an_environment_at_once(store):
    def pause(_seconds):
        raise AssertionError("it was waited for")

    with (
        store.opened(["planted-sd==1.0"]) as (first, _),
        replace(store, wait_s=pause).opened(["planted-sd==1.0"]) as (second, _),
    ):
        assert first == second
        assert store.clean()[1] == [first.parents[1]]


def test_an_environment_in_use_is_kept_and_the_others_go(store):
    with store.opened(["planted-sd==1.0"]) as (python, _):
        with store.opened(["planted-sd==2.0"]):
            pass
        (listed, _) = store.list_environments()
        assert listed.size_bytes > 0
        freed, kept = store.clean()
        assert freed > 0
        assert kept == [python.parents[1]]
        assert ask(python, "import planted_sd; print(planted_sd.VERSION)") == "1.0"
        assert [one.folder for one in store.list_environments()] == kept
    assert store.clean()[1] == []
    assert store.list_environments() == []


def test_nobodys_environments_are_listed_as_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert locate_environments() == tmp_path / "sdperf" / "environments"
    store = EnvironmentStore(locate_environments(), read_present_environment())
    assert store.list_environments() == []
    assert store.clean() == (0, [])


def test_without_a_home_the_variable_is_asked_for(monkeypatch):
    monkeypatch.setattr(environments, "default_cache_dir", lambda: None)
    with pytest.raises(ConfigurationError, match="XDG_CACHE_HOME"):
        locate_environments()


def test_pips_own_variables_do_not_lead_the_packages_astray(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('astray')")
    lines = []
    asked = "import os; print(os.environ.get('PIP_TARGET'), os.environ.get('PYTHONPATH'))"
    assert run_aloud([sys.executable, "-c", asked], lines.append) == 0
    assert lines == ["None None\n"]
    with store.opened(["planted-sd==1.0"]) as (_, record):
        assert record.versions == {"planted-sd": "1.0"}


def test_an_interrupted_build_ends_pip_and_leaves_no_environment(store, tmp_path):
    def interrupt(line):
        if "Processing" in line:
            raise KeyboardInterrupt

    broken = replace(store, say=interrupt)
    with pytest.raises(KeyboardInterrupt), broken.opened(["planted-sd==1.0"]):
        pass
    (left,) = store.list_environments()
    assert left.record is None
    with store.opened(["planted-sd==1.0"]) as (python, _):
        marker = json.loads((python.parents[1] / MARKER).read_text())
    assert marker["versions"] == {"planted-sd": "1.0"}


def test_a_program_is_ended_with_what_reads_it():
    lines = []

    def note(line):
        lines.append(line)
        raise KeyboardInterrupt

    endless = "import itertools; [print(i, flush=True) for i in itertools.count()]"
    with pytest.raises(KeyboardInterrupt):
        run_aloud([sys.executable, "-c", endless], note)
    assert lines == ["0\n"]
    assert run_aloud([sys.executable, "-c", "print('é'); exit(3)"], lines.append) == 3


def test_what_a_killed_build_left_is_removed_and_no_part_of_the_next(store):
    def die(command, note, held):
        pretend_pip(command, note, held)
        (Path(command[0]).parents[1] / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), replace(store, run=die).opened(["planted-sd==1.0"]):
        pass
    with store.opened(["planted-sd==1.0"]) as (python, _):
        assert not (python.parents[1] / "half").exists()


def test_pip_holds_the_lock_until_it_ends_also_when_sdperf_is_killed(tmp_path):
    lock = (tmp_path / "key.lock").open("w")
    assert try_lock(lock, fcntl.LOCK_EX)
    os.mkfifo(tmp_path / "fifo")
    was_free = []

    def is_free():
        with (tmp_path / "key.lock").open("w") as other:
            return try_lock(other, fcntl.LOCK_EX)

    def note(_line):
        lock.close()  # as the system does for a process that is killed
        was_free.append(is_free())
        (tmp_path / "fifo").write_text("go on")

    pip = f"print('Installing', flush=True); open({str(tmp_path / 'fifo')!r}).read()"
    assert run_aloud([sys.executable, "-c", pip], note, (lock.fileno(),)) == 0
    assert was_free == [False]
    assert is_free()


def test_all_that_writes_into_an_environment_holds_its_lock(store, monkeypatch):
    seen = []
    really_run = subprocess.run

    def spy(command, **named):
        if "venv" in command:
            seen.extend(os.fstat(one) for one in named.get("pass_fds", ()))
        return really_run(command, **named)

    def run(command, note, held):
        seen.extend(os.fstat(one) for one in held)
        return pretend_pip(command, note, held)

    monkeypatch.setattr(subprocess, "run", spy)
    with replace(store, run=run).opened(["planted-sd==1.0"]) as (python, _):
        own = python.parents[1].with_suffix(".lock").stat()
    assert [os.path.samestat(one, own) for one in seen] == [True, True]


def clean_between_locks(store, monkeypatch, times):
    """Remove the environment in the moment before a lock is shared, so many times."""
    really_lock, cleaned = fcntl.flock, []

    def flock(file, operation):
        marked = list(store.folder.glob(f"*/{MARKER}"))
        if operation & fcntl.LOCK_SH and marked and len(cleaned) < times:
            cleaned.append(marked)
            really_lock(file, fcntl.LOCK_UN)
            store.clean()
        return really_lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    return cleaned


def test_an_environment_that_is_removed_between_two_locks_is_built_again(store, monkeypatch):
    store, builds = count_builds(store)
    cleaned = clean_between_locks(store, monkeypatch, 1)
    with store.opened(["planted-sd==1.0"]) as (python, _):
        assert ask(python, "import planted_sd; print(planted_sd.VERSION)") == "1.0"
    assert (len(cleaned), builds()) == (1, 2)


def test_an_environment_that_is_removed_again_and_again_is_told(store, monkeypatch):
    cleaned = clean_between_locks(store, monkeypatch, 9)
    with pytest.raises(ConfigurationError, match="does not stay"):
        store.opened(["planted-sd==1.0"]).__enter__()
    assert len(cleaned) == 2
