"""What ``sdperf init`` plans: everything in an empty repository, nothing that would be lost."""

import re

import pytest
import yaml

from sdperf.scaffold.plan import OWN_FILE, WORKFLOWS, Wanted, list_read_paths, plan_scaffold
from sdperf.scaffold.stamps import add_stamp, is_untouched
from tests.test_workflows import find_faults

EVERYTHING = Wanted(model="./mine", subject="new", workflows=WORKFLOWS, requirement="sdperf==1.0")


def written(planned):
    return {one.path: one.after for one in planned if one.is_written}


def apply(existing, planned):
    return existing | written(planned)


def test_an_empty_repository_gets_the_suite_and_ignores_what_it_leaves():
    planned = written(plan_scaffold({}, Wanted(), "1.0"))
    assert [name for name in planned if name.startswith("benchmarks/")] == [
        f"benchmarks/test_{name}.py"
        for name in (
            "engines", "latency", "optimisations", "quality", "soak", "stages", "throughput",
        )
    ]  # fmt: skip
    assert planned[".gitignore"] == ".benchmarks/\n.sdperf/\n"
    assert set(planned) == {name for name in planned if name.startswith("benchmarks/test_")} | {
        ".gitignore"
    }


def test_all_that_can_be_asked_for_is_written_once_and_then_up_to_date():
    first = plan_scaffold({}, EVERYTHING, "1.0")
    existing = apply({}, first)
    assert set(existing) <= set(list_read_paths())
    assert existing["pytest.ini"] == (
        "[pytest]\nsd_model = ./mine\nsd_subject = benchmarks.pipeline:make\n"
    )
    assert written(plan_scaffold(existing, EVERYTHING, "1.0")) == {}


def test_what_exists_stays():
    mine = {"benchmarks/test_latency.py": "mine\n", ".gitignore": ".sdperf\n*.log\n"}
    planned = plan_scaffold(mine, Wanted(), "1.0")
    assert "benchmarks/test_latency.py" not in written(planned)
    notes = {one.path: one.note for one in planned}
    assert notes["benchmarks/test_latency.py"] == "not written by sdperf init"
    assert written(planned)[".gitignore"] == ".sdperf\n*.log\n.benchmarks/\n"


def test_a_setting_that_is_set_already_is_not_changed():
    existing = {"pytest.ini": "[pytest]\nsd_model = other\n"}
    (found,) = [
        one
        for one in plan_scaffold(existing, Wanted(model="mine"), "1.0")
        if one.path == "pytest.ini"
    ]
    assert (found.after, found.note) == (None, "it has settings already: sd_model is other")


def test_an_upgrade_replaces_what_nobody_edited_and_nothing_else():
    existing = apply({}, plan_scaffold({}, EVERYTHING, "1.0"))
    existing[OWN_FILE] += "# mine\n"
    existing["benchmarks/test_soak.py"] = "mine\n"
    again = plan_scaffold(existing, Wanted(), "1.1")
    assert written(again) == {}
    assert {one.note for one in again if one.path == "benchmarks/test_latency.py"} == {
        "of another version: --upgrade replaces it"
    }
    upgraded = plan_scaffold(existing, Wanted(requirement="sdperf==1.1", upgrades=True), "1.1")
    notes = {one.path: one.note for one in upgraded}
    assert notes[OWN_FILE] == (
        "edited since it was written: it stays; move it away to get the new text"
    )
    assert notes["benchmarks/test_soak.py"] == "not written by sdperf init"
    changed = set(written(upgraded))
    assert changed == set(existing) - {
        OWN_FILE, "benchmarks/test_soak.py", ".gitignore", "pytest.ini",
    }  # fmt: skip
    assert "sdperf init 1.1" in written(upgraded)["benchmarks/test_latency.py"]


@pytest.mark.parametrize(
    ("installed", "expected"),
    [("sdperf[report]==0.9", "sdperf[report]==1.1"), ("./sdperf.whl", "./sdperf.whl")],
)
def test_an_upgrade_moves_a_version_and_keeps_any_other_requirement(installed, expected):
    wanted = Wanted(workflows=("hosted",), requirement=installed)
    existing = apply({}, plan_scaffold({}, wanted, "0.9"))
    upgrade = Wanted(requirement="sdperf[report]==1.1", upgrades=True)
    path = ".github/workflows/sdperf-hosted.yml"
    assert f"SDPERF: '{expected}'" in written(plan_scaffold(existing, upgrade, "1.1"))[path]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_workflow_keeps_the_promises_of_our_own(name):
    planned = written(plan_scaffold({}, EVERYTHING, "1.0"))
    text = planned[f".github/workflows/sdperf-{name}.yml"]
    document = yaml.safe_load(text)
    document["on"] = document.pop(True)  # YAML 1.1 reads the key as a boolean
    assert find_faults(document) == []
    assert not re.search(r"@[A-Z]+@", text)


@pytest.mark.parametrize("name", ["mac", "gpu"])
def test_the_issue_about_bad_nights_is_asked_for_and_written_by_a_job_without_the_machine(name):
    planned = written(plan_scaffold({}, EVERYTHING, "1.0"))
    jobs = yaml.safe_load(planned[f".github/workflows/sdperf-{name}.yml"])["jobs"]
    issue = jobs["issue"]
    assert issue["permissions"] == {"actions": "read", "issues": "write"}
    assert "vars.SDPERF_ISSUE == 'yes'" in issue["if"]
    assert "github.event_name == 'schedule'" in issue["if"]
    assert "self-hosted" not in issue["runs-on"]
    (step,) = issue["steps"]
    assert step["env"]["SDPERF"] == "sdperf==1.0"
    assert "--no-deps" in step["run"]
    keep = jobs["measure"]["steps"][-1]
    assert keep["with"]["name"] == "sdperf-night"  # what the issue job reads by default
    assert "sdperf-night/night.json" in jobs["measure"]["steps"][-2]["run"]


def test_a_stamp_knows_an_edit():
    text = add_stamp("one\ntwo\n", "1.0")
    assert is_untouched(text)
    assert is_untouched(text + "three\n") is False
    assert is_untouched(text.replace("one", "two")) is False
    assert is_untouched("one\ntwo\n") is None


def test_a_checkout_with_other_line_ends_is_no_edit_and_an_upgrade_keeps_them():
    wanted = Wanted(subject="new", workflows=("hosted",), requirement="./sdperf.whl")
    made = written(plan_scaffold({}, wanted, "1.0"))
    existing = {path: text.replace("\n", "\r\n") for path, text in made.items()}
    assert written(plan_scaffold(existing, wanted, "1.0")) == {}
    upgrade = Wanted(requirement="sdperf==1.1", upgrades=True)
    upgraded = written(plan_scaffold(existing, upgrade, "1.1"))
    assert set(upgraded) == set(existing) - {".gitignore", "pytest.ini"}
    assert all(text.count("\r\n") == text.count("\n") > 0 for text in upgraded.values())
    assert "SDPERF: './sdperf.whl'\r\n" in upgraded[".github/workflows/sdperf-hosted.yml"]
    existing[OWN_FILE] += "# mine\r\n"
    assert OWN_FILE not in written(plan_scaffold(existing, upgrade, "1.1"))


def test_a_byte_order_mark_hides_no_ignored_folder():
    existing = {".gitignore": "\ufeff.sdperf/\n.benchmarks/\n"}
    assert ".gitignore" not in written(plan_scaffold(existing, Wanted(), "1.0"))
