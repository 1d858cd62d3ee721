"""The workflows: linted offline, and the promises about the Mac held against the file."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sdperf.settings import OPTIONS, SWITCHES
from tests.support.installed import ASKED

FOLDER = Path(__file__).parents[1] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
OWN_ACTIONS = ("./", "./nightly")
SELF_HOSTED_TRIGGERS = {"push", "schedule", "workflow_dispatch"}


def load(path):
    document = yaml.safe_load(path.read_text())
    document["on"] = document.pop(True)  # YAML 1.1 reads the key as a boolean
    return document


def steps_of(document):
    return [step for job in document["jobs"].values() for step in job["steps"]]


def is_self_hosted(job):
    return "self-hosted" in job["runs-on"]


def find_faults(document):
    """Say what of a workflow breaks a promise; what a change of the file could break quietly."""
    faults = []
    if document.get("permissions") != {}:
        faults.append("permissions at the top")
    for step in steps_of(document):
        if (
            "uses" in step
            and step["uses"] not in OWN_ACTIONS
            and not PINNED.fullmatch(step["uses"])
        ):
            faults.append(f"{step['uses']} is not pinned")
        if step.get("uses", "").startswith("actions/checkout@") and (
            step["with"].get("persist-credentials") is not False
        ):
            faults.append("the checkout keeps its token")
        if "${{" in step.get("run", ""):
            faults.append("an expression inside a script")
    for name, job in document["jobs"].items():
        if "timeout-minutes" not in job:
            faults.append(f"{name} has no limit")
        if not is_self_hosted(job):
            continue
        if set(document["on"]) - SELF_HOSTED_TRIGGERS:
            faults.append("a trigger that a fork can reach")
        if document["on"].get("push", {"branches": ["main"]}).get("branches") != ["main"]:
            faults.append("pushes to other branches than main")
        if job["permissions"] != {"contents": "read"}:
            faults.append("the Mac gets more than reading")
        if document.get("concurrency", {}).get("queue") != "max":
            faults.append("a run that waits can be thrown away")
        if document.get("concurrency", {}).get("cancel-in-progress"):
            faults.append("a run that measures can be stopped")
    return faults


def change(document, *keys, value):
    for key in keys[:-1]:
        document = document[key]
    document[keys[-1]] = value


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_promise_is_kept(path):
    assert find_faults(load(path)) == []


@pytest.mark.parametrize(
    ("keys", "value", "fault"),
    [
        (("on", "pull_request"), None, "a trigger that a fork can reach"),
        (("on", "pull_request_target"), None, "a trigger that a fork can reach"),
        (("on", "workflow_run"), None, "a trigger that a fork can reach"),
        (("on", "push", "branches"), ["**"], "pushes to other branches than main"),
        (("permissions",), {"contents": "write"}, "permissions at the top"),
        (
            ("jobs", "measure", "permissions"),
            {"contents": "write"},
            "the Mac gets more than reading",
        ),
        (("concurrency", "queue"), None, "a run that waits can be thrown away"),
        (("concurrency", "cancel-in-progress"), True, "a run that measures can be stopped"),
        (("jobs", "measure", "steps", 1, "uses"), "actions/checkout@v7", "is not pinned"),
        (("jobs", "measure", "steps", 0, "run"), "echo ${{ inputs.commit }}", "an expression"),
    ],
)
def test_a_broken_promise_is_seen(keys, value, fault):
    document = load(FOLDER / "benchmarks.yml")
    change(document, *keys, value=value)
    assert any(fault in each for each in find_faults(document))


def test_only_the_job_without_the_mac_can_write_and_it_runs_no_code_of_the_commit():
    jobs = load(FOLDER / "benchmarks.yml")["jobs"]
    writers = {
        name: job
        for name, job in jobs.items()
        if any("write" in each for each in job["permissions"].values())
    }
    assert set(writers) == {"comment", "issue"}
    for writer in writers.values():
        assert not is_self_hosted(writer)
        assert writer["needs"] == "measure"
        assert not any("run" in step for step in writer["steps"])
    assert not any("checkout" in step["uses"] for step in writers["comment"]["steps"])


def test_the_issue_is_written_by_mains_own_code_and_after_nights_alone():
    job = load(FOLDER / "benchmarks.yml")["jobs"]["issue"]
    assert "github.event_name == 'schedule'" in job["if"]  # a timer starts what is on main
    assert job["permissions"] == {"contents": "read", "actions": "read", "issues": "write"}
    checkout, nightly = job["steps"]
    assert "ref" not in checkout["with"]
    assert nightly["uses"] == "./nightly"


def test_weights_are_fetched_in_one_step_and_the_timed_one_is_offline():
    steps = load(FOLDER / "benchmarks.yml")["jobs"]["measure"]["steps"]
    named = {step.get("name"): step for step in steps}
    assert named["Measure"]["env"]["HF_HUB_OFFLINE"] == "1"
    assert [name for name, step in named.items() if "snapshot_download" in step.get("run", "")] == [
        "Prefetch the model"
    ]
    assert "nice" not in named["Measure"]["run"]
    assert "taskpolicy" not in named["Measure"]["run"]


def test_the_mac_stays_awake_while_it_measures():
    steps = load(FOLDER / "benchmarks.yml")["jobs"]["measure"]["steps"]
    (measure,) = [step for step in steps if step.get("name") == "Measure"]
    assert "caffeinate -dims .venv/bin/pytest" in measure["run"]


def test_hosted_macs_are_asked_for_their_cpu_alone_and_send_nothing_that_names_them():
    document = load(FOLDER / "macos.yml")
    job = document["jobs"]["contract"]
    assert job["strategy"]["matrix"]["image"] == ["macos-15", "macos-26"]
    script = "".join(step.get("run", "") for step in job["steps"])
    assert "--sd-device cpu" in script
    assert not re.search(r"--sd-device (?:mps|auto)", script)
    for command in (
        "hatchling build",
        "doctor",
        "refresh_apple_fixtures check",
        ".venv/bin/pytest",
    ):
        assert command in script
    (upload,) = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    sent = set(upload["with"]["path"].split())
    assert sent == {
        "out/apple-fixtures",
        "out/contribution.json",
        "out/summary.md",
        "out/tests.xml",
    }


def test_pictures_on_hosted_gpus_block_nothing_time_nothing_and_are_expected_red_on_macos_26():
    job = load(FOLDER / "macos.yml")["jobs"]["pictures"]
    assert job["continue-on-error"] is True
    assert job["strategy"]["matrix"]["image"] == ["macos-15", "macos-26"]
    script = "".join(step.get("run", "") for step in job["steps"])
    assert "benchmarks/test_quality.py" in script
    assert "--sd-rounds 1 " in script
    assert "contribute" not in script
    assert "bf16" not in script
    assert 'if [ "$IMAGE" = macos-26 ]; then expect=wrong; fi' in script
    assert script.index("mps-check") < script.index("test_quality") < script.index("hosted_pict")
    assert {step["with"]["path"] for step in job["steps"] if "path" in step.get("with", {})} == {
        "out/predicted-*.json"
    }


def test_on_hosted_macs_everything_imports_the_wheel():
    steps = load(FOLDER / "macos.yml")["jobs"]["contract"]["steps"]
    named = {step.get("name"): step for step in steps}
    without = "${{ runner.temp }}/checkout"
    assert 'rm -R "$RUNNER_TEMP/checkout/sdperf"' in named["A checkout without the package"]["run"]
    assert named["Tests"]["env"] == {ASKED: "1"}
    builds = list(named).index("Build the wheel and install it")
    for step in steps[builds + 1 :]:
        imports = re.search(r"\bpytest\b|python\" -m|import sdperf", step.get("run", ""))
        if imports and 'cd "$RUNNER_TEMP/suite"' not in step["run"]:
            assert step["working-directory"] == without, step["name"]


def test_every_option_that_the_workflow_passes_exists():
    text = "".join(path.read_text() for path in WORKFLOWS)
    options = {option.key for option in (*OPTIONS, *SWITCHES)}
    assert set(re.findall(r"--sd-([a-z-]+)", text)) <= options


def tool(name):
    path = Path(sys.executable).parent / name
    found = str(path) if path.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install 'sdperf[dev]'")
    return found


def test_each_night_tries_the_oldest_and_the_newest_versions_on_the_first_and_the_last_python():
    nightly = load(FOLDER / "nightly.yml")
    job = nightly["jobs"]["versions"]
    assert "schedule" in nightly["on"]
    assert job["strategy"] == {
        "fail-fast": False,
        "matrix": {"python": ["3.11", "3.13"], "versions": ["oldest", "newest"]},
    }
    assert job["steps"][1]["with"]["python-version"] == "${{ matrix.python }}"
    (tries,) = (step for step in job["steps"] if "run" in step)
    assert tries == {
        "run": 'make "test-$VERSIONS"',
        "env": {"VERSIONS": "${{ matrix.versions }}"},
    }
    rules = (FOLDER.parents[1] / "Makefile").read_text()
    for versions in job["strategy"]["matrix"]["versions"]:
        assert re.search(rf"^test-{versions}: ", rules, re.MULTILINE)


def test_zizmor_finds_nothing():
    command = [tool("zizmor"), "--offline", "--no-progress", "--quiet", str(FOLDER)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_zizmor_would_find_something(tmp_path):
    bad = tmp_path / ".github" / "workflows" / "bad.yml"
    bad.parent.mkdir(parents=True)
    text = (FOLDER / "ci.yml").read_text()
    bad.write_text(re.sub(r"checkout@[0-9a-f]{40}", "checkout@v7", text))
    command = [tool("zizmor"), "--offline", "--no-progress", "--quiet", str(bad)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode != 0


ACTION = FOLDER.parents[1] / "action.yml"
FORMS = FOLDER.parent / "ISSUE_TEMPLATE"
WITH_SCHEMA = {
    "github-workflows": (WORKFLOWS, "jobs:"),
    "github-actions": ([ACTION, FOLDER.parents[1] / "nightly" / "action.yml"], "runs:"),
    "github-issue-forms": ([FORMS / "bug.yml", FORMS / "figures.yml"], "body:"),
    "github-issue-config": ([FORMS / "config.yml"], "blank_issues_enabled:"),
    "citation-file-format": ([FOLDER.parents[1] / "CITATION.cff"], "authors:"),
}
"""Files by their schema, with a line that each needs."""


def check_schema(schema, paths):
    """Call what the command calls: each process of it would import for half a second."""
    absent = "check-jsonschema is not installed: pip install 'sdperf[dev]'"
    command = pytest.importorskip("check_jsonschema", reason=absent)
    runner = pytest.importorskip("click.testing").CliRunner()
    return runner.invoke(command.main, ["--builtin-schema", f"vendor.{schema}", *map(str, paths)])


@pytest.mark.parametrize("schema", WITH_SCHEMA)
def test_the_schema_holds_and_would_see_a_damage(schema, tmp_path):
    paths, needed = WITH_SCHEMA[schema]
    result = check_schema(schema, paths)
    assert result.exit_code == 0, result.output
    damaged = tmp_path / paths[0].name
    text = paths[0].read_text()
    assert f"\n{needed}" in f"\n{text}"
    damaged.write_text(re.sub(rf"^{needed}", f"un{needed}", text, flags=re.MULTILINE))
    assert check_schema(schema, [damaged]).exit_code == 1


def test_who_reports_a_fault_is_asked_what_doctor_says_of_the_machine():
    form = yaml.safe_load((FORMS / "bug.yml").read_text())
    asked = {one["id"]: one for one in form["body"]}
    assert asked["doctor"]["attributes"]["label"] == "sdperf doctor --json"
    assert asked["doctor"]["attributes"]["render"] == "json"
    assert asked["doctor"]["validations"] == {"required": True}


def find_action_faults(document):
    """Say what of our action breaks a promise."""
    faults = [
        f"input {name} has no default or description"
        for name, one in document["inputs"].items()
        if "default" not in one or not one.get("description")
    ]
    for step in document["runs"]["steps"]:
        if "uses" in step and not PINNED.fullmatch(step["uses"]):
            faults.append(f"{step['uses']} is not pinned")
        if "${{" in step.get("run", ""):
            faults.append("an expression inside a script")
        if re.search(r"\b(mapfile|readarray|declare -A)\b", step.get("run", "")):
            faults.append("a script that bash 3.2 of macOS does not run")
    return faults


def test_the_action_keeps_its_promises():
    document = yaml.safe_load(ACTION.read_text())
    assert find_action_faults(document) == []
    for change_one in (
        lambda one: one["inputs"]["tests"].pop("default"),
        lambda one: one["runs"]["steps"][-1].update(uses="actions/upload-artifact@v7"),
        lambda one: one["runs"]["steps"][1].update(run="pip install ${{ inputs.install }}"),
        lambda one: one["runs"]["steps"][1].update(run="mapfile -t words"),
    ):
        damaged = yaml.safe_load(ACTION.read_text())
        change_one(damaged)
        assert len(find_action_faults(damaged)) == 1


def run_step(name, folder, *, action=ACTION, **inputs):
    """Run a script of the action as a runner does, with a stand-in for the installed programs."""
    (step,) = [
        one for one in yaml.safe_load(action.read_text())["runs"]["steps"] if one["name"] == name
    ]
    program = folder / "sdperf" / "bin"
    program.mkdir(parents=True, exist_ok=True)
    for one in ("python", "sdperf"):
        (program / one).write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\nexit "${FAILS:-0}"\n')
        (program / one).chmod(0o755)
    output = folder / "output"
    output.touch()
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "RUNNER_TEMP": str(folder), "GITHUB_OUTPUT": str(output)}
        | {"GITHUB_STEP_SUMMARY": str(output)}
        | inputs,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.replace(f"{program}/", "")


def test_the_action_gives_pytest_each_line_as_one_word(tmp_path):
    status, typed = run_step(
        "Measure and judge",
        tmp_path,
        TESTS="benchmarks\nsdperf.suite\n",
        ARGUMENTS="-k\nfp32 and sync\n\n--benchmark-compare\n",
    )
    assert status == 0
    assert typed.startswith(
        "python|-m|pytest|benchmarks|--pyargs|sdperf.suite|-k|fp32 and sync|--benchmark-compare|"
    )
    assert run_step("Measure and judge", tmp_path, TESTS="x", ARGUMENTS="", FAILS="1")[0] == 1


@pytest.mark.parametrize(
    ("doctor", "fails", "status", "typed"),
    [
        ("warn", "0", 0, "sdperf|doctor|"),
        ("warn", "1", 0, "sdperf|doctor|"),
        ("strict", "1", 1, "sdperf|doctor|--strict|"),
        ("strict", "0", 0, "sdperf|doctor|--strict|"),
    ],
)
def test_the_action_ends_on_an_unfit_machine_where_that_is_asked(
    tmp_path, doctor, fails, status, typed
):
    assert run_step("Is the machine fit?", tmp_path, DOCTOR=doctor, FAILS=fails) == (status, typed)


def test_the_action_names_an_input_that_it_cannot_use(tmp_path):
    status, said = run_step("Prepare", tmp_path, DOCTOR="maybe")
    assert (status, "expected: off, warn or strict" in said) == (2, True)
    assert run_step("Prepare", tmp_path, DOCTOR="warn")[0] == 0
    assert (tmp_path / "output").read_text() == "folder=sdperf-run\n"


def test_the_action_shows_the_summary_or_that_there_is_none(tmp_path):
    (tmp_path / "sdperf-run").mkdir()
    run_step("Summary", tmp_path)
    (tmp_path / "sdperf-run/summary.md").write_text("**3 PASS**\n")
    run_step("Summary", tmp_path)
    assert (tmp_path / "output").read_text() == "Nothing was measured: see the log.\n**3 PASS**\n"


def test_the_action_notes_its_night_where_that_is_asked(tmp_path):
    steps = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
    noted = [step for step in steps if "night" in step["name"]]
    assert "inputs.night != ''" in noted[0]["if"]
    assert noted[1]["with"]["path"] == "sdperf-night"
    assert run_step("Note the night", tmp_path) == (
        0,
        "python|-m|sdperf.nightly|note|sdperf-run/run.json|sdperf-night/night.json|",
    )


NIGHTLY = ACTION.parent / "nightly" / "action.yml"


def test_the_nightly_action_keeps_its_promises_and_runs_the_package_beside_it(tmp_path):
    assert find_action_faults(yaml.safe_load(NIGHTLY.read_text())) == []
    (step,) = yaml.safe_load(NIGHTLY.read_text())["runs"]["steps"]
    assert step["env"]["CHECKOUT"] == "${{ github.action_path }}/.."
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        | {"CHECKOUT": str(NIGHTLY.parent / ".."), "ARTEFACT": "a b", "BRANCH": "main"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("python -m sdperf.nightly: this is no job of GitHub's")


def read_nightly_workflow():
    """Return the workflow that docs/action.md shows, with a place for its OWNER and COMMIT."""
    page = (ACTION.parent / "docs" / "action.md").read_text()
    (text,) = [one for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "jobs:" in one]
    return text.replace("OWNER", "somebody").replace("COMMIT", "0" * 40)


def test_the_nightly_workflow_of_the_docs_keeps_the_promises(tmp_path):
    document = yaml.safe_load(read_nightly_workflow())
    document["on"] = document.pop(True)
    assert find_faults(document) == []
    assert document["jobs"]["issue"]["permissions"] == {"actions": "read", "issues": "write"}
    inputs = yaml.safe_load(ACTION.read_text())["inputs"]
    given = document["jobs"]["measure"]["steps"][-1]["with"]
    assert set(given) <= set(inputs)
    default = yaml.safe_load(NIGHTLY.read_text())["inputs"]["artefact"]["default"]
    assert given["night"] == default
    path = tmp_path / "nightly.yml"
    path.write_text(read_nightly_workflow())
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(path)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
