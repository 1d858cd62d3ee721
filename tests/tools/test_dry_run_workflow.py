"""A job of a workflow on this machine: what act is told, and what it makes of it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sdperf.errors import ConfigurationError
from tools.dry_run_workflow.__main__ import main, read_action
from tools.dry_run_workflow.plan import make_plan
from tools.dry_run_workflow.running import format_stand_in, make_environment

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEXT = """
on: [push]
concurrency:
  group: the-moon
  queue: max
jobs:
  good:
    runs-on: ${{ matrix.image }}
    strategy: {matrix: {image: [moon-1, moon-2], python: ["3.12"]}}
    defaults: {run: {shell: bash}}
    steps:
      - uses: actions/checkout@0000000000000000000000000000000000000000
        with: {persist-credentials: false}
      - uses: actions/setup-python@1111111111111111111111111111111111111111
        with: {python-version: "${{ matrix.python }}"}
      - name: Whose folder
        run: |
          test "$PWD" = "$GITHUB_WORKSPACE" && test -f README.md && ! test -e not-committed
          echo "image ${{ matrix.image }}, ${SAID:-nothing said}" >> "$GITHUB_STEP_SUMMARY"
          python -c 'import sys; print("prefix", sys.prefix)'
          echo kept > "$RUNNER_TEMP/kept"
      - name: Elsewhere
        working-directory: ${{ runner.temp }}
        env: {WORD: "a word of the step"}
        run: cat kept && echo "$WORD"
      - name: Of another system
        if: runner.os == 'Plan9'
        run: exit 1
  asked:
    if: vars.MOON == 'yes'
    runs-on: moon-1
    steps:
      - name: On the moon
        shell: bash
        run: echo landed
  bad:
    runs-on: moon-1
    steps:
      - name: Fails
        shell: bash
        run: |
          false | true
          echo went on after a failure
      - run: echo another step
"""


def job(name="good", text=TEXT, **chosen):
    return make_plan(yaml.safe_load(text), name, chosen)


def test_a_plan_names_machines_values_and_actions():
    plan = job(image="moon-2")
    assert plan.event == "push"
    assert plan.labels == ("moon-1", "moon-2")
    assert plan.matrix == {"image": "moon-2", "python": "3.12"}
    assert plan.actions == {
        "actions/setup-python@1111111111111111111111111111111111111111": ("python-version",)
    }
    assert plan.conditions == {"Of another system": "runner.os == 'Plan9'"}


@pytest.mark.parametrize(
    ("text", "name", "chosen", "complaint"),
    [
        (TEXT, "absent", {}, "no such job; got: absent; expected: good, asked, bad"),
        (TEXT, "good", {"image": "sun"}, "no such value; got: image:sun"),
        (TEXT.replace("runs-on: moon-1", "container: x"), "bad", {}, "a job with container"),
        (TEXT.replace("- run: echo", "- uses: ./here #"), "bad", {}, "cannot be stood in for"),
    ],
)
def test_what_cannot_be_run_here_is_said(text, name, chosen, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        job(name, text, **chosen)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (path, name)
        for path in WORKFLOWS
        for name in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    ],
    ids=lambda value: getattr(value, "stem", value),
)
def test_the_jobs_of_this_repository_can_be_planned(path, name):
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    plan = make_plan(document, name, {}, lambda one: read_action(ROOT, one))
    assert plan.labels
    assert not any(action.startswith("actions/checkout") for action in plan.actions)


def test_a_stand_in_is_an_action_that_says_so():
    action = yaml.safe_load(format_stand_in("a/b@c", ("x", "y-z")))
    assert set(action["inputs"]) == {"x", "y-z"}
    (step,) = action["runs"]["steps"]
    assert "NOT RUN HERE: a/b" in step["run"]
    assert yaml.safe_load(format_stand_in("a/b@c", ()))["inputs"] == {}


def test_act_gets_this_python_and_none_of_its_packages(tmp_path):
    made = make_environment({"PATH": "/bin", "PYTHONPATH": "/x", "HOME": "/h"}, tmp_path)
    assert made["PATH"].split(":") == [str(Path(sys.executable).parent), "/bin"]
    assert "PYTHONPATH" not in made
    assert made["HOME"] == "/h"


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("act", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("act is not installed: pip install 'sdperf[dev]'")
    folder = tmp_path / "checkout"
    (folder / ".github" / "workflows").mkdir(parents=True)
    (folder / ".github" / "workflows" / "jobs.yml").write_text(TEXT)
    (folder / "README.md").write_text("here")
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("init", "--quiet"), ("add", "-A"), (*who, "commit", "--quiet", "-m", "all")):
        subprocess.run(["git", "-C", folder, *words], check=True)
    (folder / "not-committed").write_text("")
    return folder


def run(checkout, capfd, *words):
    path = checkout / ".github" / "workflows" / "jobs.yml"
    status = main([str(path), "--root", str(checkout), *words])
    return status, capfd.readouterr().out


def test_every_step_runs_in_a_fresh_clone(checkout, capfd):
    status, text = run(checkout, capfd, "good", "--matrix", "image:moon-2", "--env", "SAID=hello")
    assert status == 0, text
    assert "not in it: 1 files" in text
    assert "NOT RUN HERE: actions/setup-python" in text
    assert "image moon-2, hello" in text
    assert f"prefix {sys.prefix}" in text
    assert "a word of the step" in text
    assert "job good: every step that ran passed" in text
    assert "under a condition: Of another system (runner.os == 'Plan9')" in text
    assert "Run Main Of another system" not in text
    assert not (checkout / "kept").exists()


@pytest.mark.parametrize(("value", "is_run"), [("yes", True), ("no", False)])
def test_a_variable_of_the_repository_decides_whether_a_job_runs(checkout, capfd, value, is_run):
    status, text = run(checkout, capfd, "asked", "--var", f"MOON={value}")
    assert status == 0, text
    assert ("landed" in text) is is_run


def test_the_first_failure_ends_it(checkout, capfd):
    status, text = run(checkout, capfd, "bad")
    assert status == 1
    assert "went on after a failure" not in text
    assert "another step" not in text
    assert "job bad: failed" in text


def test_a_folder_without_git_is_one_message(tmp_path, capfd):
    (tmp_path / "jobs.yml").write_text(TEXT)
    assert main([str(tmp_path / "jobs.yml"), "good", "--root", str(tmp_path)]) == 2
    assert "cannot be cloned" in capfd.readouterr().err


def test_what_an_action_of_the_checkout_uses_is_stood_in_for():
    used = "actions/upload-artifact@" + "2" * 40
    action = {"runs": {"steps": [{"run": "true"}, {"uses": used, "with": {"name": "x"}}]}}
    document = yaml.safe_load(TEXT)
    document["jobs"]["bad"]["steps"].append({"uses": "./"})
    with pytest.raises(ConfigurationError, match="cannot be stood in for"):
        make_plan(document, "bad", {})
    read = []
    plan = make_plan(document, "bad", {}, lambda one: read.append(one) or action)
    assert (dict(plan.actions), read) == ({used: ("name",)}, ["./"])


def test_an_action_that_the_checkout_lacks_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no such action; got: \./gone"):
        read_action(tmp_path, "./gone")
