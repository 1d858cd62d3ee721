import dataclasses
import re
from html.parser import HTMLParser

import pytest

from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.record.verdict import SettledCase
from sdperf.report.html.environments import MOST_RUNS, tabulate_environments
from sdperf.report.html.page import render_page
from sdperf.report.html.summary import summarise
from sdperf.report.html.tables import list_choices, list_columns, list_rows
from sdperf.report.pictures.pictures import locate_pictures
from tests.support.reported_runs import (
    HOSTILE,
    real_run,
    save,
    slowed,
    with_cases,
    with_hostile_names,
    with_images,
)


class Outline(HTMLParser):
    """Every element that a browser would make, with what it would load or run."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.ids, self.loads, self.handlers = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "action", "data") or name.endswith(":href"):
                self.loads.append(value)
            if name.startswith("on"):
                self.handlers.append(name)


def judged(*documents):
    return judge_machine(
        [parse_reported_run(f"run{n}.json", document) for n, document in enumerate(documents)]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def machine(folder):
    before = real_run()
    after = with_images(slowed(before, 1.6, only="test_throughput"), folder)
    save(folder, before, "before.json")
    save(folder, after, "after.json")
    return judged(before, after)


@pytest.fixture(scope="module")
def page(machine, folder):
    return render_page([machine], locate_pictures([folder / "after.json"]))


def test_nothing_is_loaded_and_no_id_is_used_twice(page):
    outline = Outline(page)
    assert all(each.startswith(("#", "data:")) for each in outline.loads)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.handlers == []
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page.replace("http-equiv", ""))


def test_the_policy_allows_this_script_only(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert "default-src &#39;none&#39;" in policy
    assert "script-src &#39;sha256-" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]


def test_all_that_was_asked_for_is_there(page):
    for words in (
        "5 of 15 cases got worse",
        "What changed",
        "Measured on",
        "How sure",
        "Time of one image",
        "Time per component",
        "One worker against many",
        "Resources over",
        "Share of the device",
        "Where along the steps the latents part",
        "All prompts",
        "Did the machine hold still?",
        "Environment",
        "difference, 8 times",
    ):
        assert words in page, words
    assert page.count('type="range"') == 1
    assert page.count('class="prompt"') == 8


def test_the_table_says_whose_memory_it_shows(page):
    assert '<th scope="col" class="n">workers&#39; memory</th>' in page


def test_the_rows_say_every_verdict_once(folder):
    machine = judged(real_run(), slowed(real_run(), 1.6, only="test_throughput"))
    rows = list_rows(machine)
    assert [row.name for row in rows] != [case.name for case in machine.cases]
    assert sorted(row.name for row in rows) == sorted(case.name for case in machine.cases)
    assert [row.group for row in rows] == ["worse"] * 4 + ["fine"] * 8
    assert {heading for _, heading in list_columns(rows)} >= {"s/image", "change", "SSIM"}
    assert "energy/image" not in {heading for _, heading in list_columns(rows)}
    assert list_choices(rows)["kind"] == ["latency", "stage", "throughput"]
    assert "precision" not in list_choices(rows)


def test_a_case_that_only_the_base_has_is_shown_in_seconds_an_image_too():
    base, head = real_run(), real_run()
    shared = {row.name: row for row in list_rows(judged(base, real_run()))}
    gone = head["benchmarks"][1:]
    head["benchmarks"] = head["benchmarks"][:1]
    for saved in gone:
        head["sdperf"]["outcomes"].pop(saved["fullname"], None)
    rows = {row.name: row for row in list_rows(judged(base, head))}
    for saved in gone:
        lost, kept = rows[saved["fullname"]], shared[saved["fullname"]]
        assert lost.per_image == "-"
        assert lost.baseline == kept.baseline
        assert (lost.kind, lost.precision, lost.mode, lost.workers) == (
            kept.kind,
            kept.precision,
            kept.mode,
            kept.workers,
        )
    assert any(saved["extra_info"]["sdperf"]["images_per_round"] > 1 for saved in gone)


def test_bases_whose_rounds_are_of_another_size_give_no_seconds_an_image():
    smaller, base, head = real_run(), real_run(), real_run()
    lost = next(one["fullname"] for one in base["benchmarks"] if "throughput" in one["fullname"])
    head["benchmarks"] = [one for one in head["benchmarks"] if one["fullname"] != lost]
    head["sdperf"]["outcomes"].pop(lost)
    for saved in smaller["benchmarks"]:
        if saved["fullname"] == lost:
            saved["extra_info"]["sdperf"]["images_per_round"] -= 1
    row = next(row for row in list_rows(judged(smaller, base, head)) if row.name == lost)
    assert row.baseline == "-"


def test_excluded_rounds_are_on_the_strip():
    document = real_run(precision="bf16")
    rows = {row.short: row for row in list_rows(judged(document))}
    row = rows["stage[bf16-deliver]"]
    assert [mark.is_excluded for mark in row.marks] == [False, False, True]
    assert row.marks[-1].words.startswith("excluded")
    assert row.rounds == "2 rounds, 1 excluded"


def broken(document, count=2):
    """A run of which so many cases fail, such as by their own assert."""
    for one in document["benchmarks"][:count]:
        one["extra_info"]["sdperf"]["verdict"]["findings"] = [
            {"outcome": "BROKEN", "gate": "test", "reason": "the test failed"}
        ]
    return document


@pytest.mark.parametrize(
    ("documents", "headline", "role"),
    [
        ([broken(real_run())], "2 of 12 cases failed", "fail"),
        ([real_run(), broken(real_run())], "2 of 12 cases failed", "fail"),
        (
            [real_run(), broken(slowed(real_run(), 1.6, only="test_throughput"))],
            "4 of 12 cases got worse, 2 failed",
            "fail",
        ),
        ([real_run()], "All 12 cases pass", "good"),
        ([real_run(), slowed(real_run(), 0.5)], "All 12 cases pass", "good"),
        ([real_run("h100-sd15-fp16", None)], "No answer yet for 8 cases", "open"),
        (
            [real_run(), slowed(real_run(), 1.6)],
            "No single case stands out, but all together got worse",
            "fail",
        ),
    ],
)
def test_the_headline_is_the_verdict(documents, headline, role):
    summary = summarise(judged(*documents))
    assert summary.headline == headline
    assert summary.role == role


def test_a_program_that_draws_with_its_own_model_is_named_with_it():
    document = real_run()
    facts = {"name": "toy", "version": "1.2.3", "model": "tanh", "device": "cpu"}
    for one in document["benchmarks"]:
        record = one["extra_info"]["sdperf"]
        record["workload"]["guidance_scale"] = None
        record["engine"] = {
            "name": "external:toy=/x",
            "version": "1.2.3",
            "provider": "cpu",
            "program": facts,
        }
    shown = dict(summarise(judged(document)).facts)
    assert shown["model"] == "tanh"
    assert shown["program"] == "toy 1.2.3"
    assert "guidance" not in shown["workload"]
    assert dict(summarise(judged(real_run())).facts)["model"] == "embedded"


def test_cases_that_were_left_out_are_counted_and_are_no_change():
    head = real_run()
    gone = [one["fullname"] for one in head["benchmarks"] if "test_stage" in one["fullname"]]
    head["benchmarks"] = [one for one in head["benchmarks"] if one["fullname"] not in gone]
    for name in gone:
        head["sdperf"]["outcomes"].pop(name)
    summary = summarise(judged(real_run(), head))
    assert summary.headline == f"All {12 - len(gone)} cases pass"
    assert [count.outcome for count in summary.counts] == ["PASS"]
    assert summary.changed == ()
    (said,) = [one.words for one in summary.sure if "not run" in one.words]
    assert said.startswith(f"{len(gone)} cases of the earlier runs were not run: stage[")


def test_cases_that_differ_by_their_files_alone_are_told_apart():
    document = real_run()
    names = [f"{one}.py::test_x" for one in "ab"]
    for benchmark, name in zip(document["benchmarks"], names, strict=False):
        benchmark["fullname"] = name
    document["sdperf"]["outcomes"] = {}
    short = [case.short for case in judged(document).cases]
    assert set(names) < set(short)
    assert len(set(short)) == len(short)


def test_a_page_says_that_nothing_was_compared():
    head = real_run()
    for one in head["benchmarks"]:
        one["extra_info"]["sdperf"]["workload"]["num_inference_steps"] = 7
    said = [one.words for one in summarise(judged(real_run(), head)).sure]
    assert any(one.startswith("nothing was compared: ") for one in said)


def test_the_runs_that_bind_are_counted_case_by_case():
    machine = judged(*[real_run()] * 7)

    def tell(*sessions):
        cases = [
            dataclasses.replace(case, sessions=count)
            for case, count in zip(machine.cases, sessions, strict=False)
        ]
        (said,) = (
            one.words
            for one in summarise(dataclasses.replace(machine, cases=tuple(cases))).sure
            if one.words.startswith("Compared with")
        )
        return said

    assert tell(6, 6) == "Compared with 6 earlier runs: +3.0 % a case binds."
    assert tell(6, 1) == (
        "Compared with 6 earlier runs, of which 1 counts for 1 of 2 cases: only +25.0 % fails in "
        "1 of 2 cases. 4 more and +3.0 % binds in all."
    )
    assert tell(1, 0, 1) == (
        "Compared with 6 earlier runs, of which 1 counts: only +25.0 % fails. "
        "4 more and +3.0 % binds."
    )


def test_skipped_cases_are_counted_beside_those_that_ran_and_say_why():
    head = real_run()
    head["sdperf"]["skipped"] = {"a[1]": "slow", "a[2]": "slow", "b": "<b>foreign"}
    head["sdperf"]["skipped"] |= {f"c[{number}]": f"reason {number}" for number in range(7)}
    summary = summarise(judged(head))
    assert sum(count.number for count in summary.counts) == 12
    (said,) = [one.words for one in summary.sure if "skipped and" in one.words]
    assert said.startswith("10 more cases were skipped and not counted above: 2 x slow; 1 x <b>for")
    assert said.endswith("; 3 more reasons.")
    page = render_page([judged(with_cases(head, 1))], locate_pictures([]))
    assert "1 x &lt;b&gt;foreign" in page
    assert "skipped" not in " ".join(one.words for one in summarise(judged(real_run())).sure)


def test_only_cases_that_were_measured_again_are_said_to_be():
    def list_again(again):
        settled = {"a": SettledCase("PASS", "so", was_measured_again=again)}
        machine = judged(real_run(), real_run())
        machine = dataclasses.replace(machine, settled=settled)
        return [one.words for one in summarise(machine).sure if "in the same run" in one.words]

    assert list_again(True) == ["1 case measured again in the same run."]
    assert list_again(False) == list_again(None) == []


def test_what_differs_between_runs_is_named_and_put_first():
    after = real_run()
    after["commit_info"]["branch"] = "faster"
    for saved in after["benchmarks"]:
        saved["extra_info"]["sdperf"]["environment"]["packages"]["diffusers"] = "9.9"
    machine = judged(real_run(), after)
    assert ("package diffusers", "0.42.1", "9.9") in summarise(machine).between
    table = tabulate_environments([*machine.bases, machine.head])
    assert {row[0] for row in table.differing.rows} == {"branch", "package diffusers"}
    assert not any(len(set(row[1:])) > 1 for row in table.equal.rows)


def test_pictures_that_differ_between_runs_are_told_in_words():
    after = real_run()
    for saved in after["benchmarks"]:
        saved["extra_info"]["sdperf"]["workload"]["picture"] = {
            "sha256": "ab" * 32,
            "strength": 0.8,
            "task": "image-to-image",
        }
    told = summarise(judged(real_run(), after)).between
    assert ("workload picture", "the prompt alone", "abababab") in told
    assert ("workload strength", "none", "0.8") in told
    assert not any("sha256" in value or "{" in value for row in told for value in row)


@pytest.mark.parametrize(("is_sound", "sign"), [(True, "✓"), (False, "!")])
def test_a_null_control_says_how_sure(is_sound, sign):
    document = real_run()
    document["sdperf"]["null_control"] = {
        "case": "test_a",
        "measured_at": "2026-11-23T00:00:00+00:00",
        "limit": 0.03,
        "contrasts": [0.01, 0.03],
        "is_sound": is_sound,
    }
    (said,) = [one for one in summarise(judged(document)).sure if "itself" in one.words]
    assert "+2.0 %" in said.words
    assert said.sign == sign


def test_of_many_runs_the_latest_are_side_by_side():
    runs = [parse_reported_run(f"{n}.json", real_run()) for n in range(MOST_RUNS + 2)]
    assert tabulate_environments(runs).equal.header == (
        "field",
        "2.json",
        "3.json",
        "4.json",
        "5.json",
    )


def test_names_are_texts(folder):
    machine = judged(with_hostile_names(with_cases(real_run(), 1)))
    page = render_page([machine], locate_pictures([]))
    outline = Outline(page)
    assert outline.tags.count("script") == 2
    assert outline.handlers == []
    assert HOSTILE not in page
    assert "&lt;/script&gt;&lt;script&gt;window.hacked" in page


def test_several_machines_are_beside_each_other():
    few = with_cases(real_run(), 3)
    machines = [judged(few), judged(real_run("h100-sd15-stages", "latency"))]
    page = render_page(machines, locate_pictures([]))
    assert "<h1" in page
    assert page.count("<h1") == 1
    for words in ("2 machines", "Across machines", "share of peak", "images/J", "whole board"):
        assert words in page
    assert "The workloads differ in model, steps, guidance, size" in page


def test_equal_data_make_an_equal_page(machine, page, folder):
    assert render_page([machine], locate_pictures([folder / "after.json"])) == page


def test_a_foreign_run_has_a_report_too():
    document = {"benchmarks": [{"fullname": "test_a", "stats": {"data": [1.0, 1.1]}}]}
    page = render_page([judged(document, document)], locate_pictures([]))
    assert "The only case passes" in page


def test_guards_that_were_off_or_told_nothing_vouch_for_nothing():
    document = real_run()

    def tell(**log):
        for benchmark in document["benchmarks"]:
            benchmark["extra_info"]["sdperf"]["guards"] = log
        sure = summarise(judged(document)).sure
        return [(one.sign, one.words) for one in sure if one.words.startswith(("The m", "Guard"))]

    told = tell(policy="off", before=[], during=[], after=[], excluded=[])
    assert told == [("!", "Guards were off: nobody looked at whether the machine was fit.")]
    unknown = {"name": "load", "state": "unknown", "value": None, "sentence": "it is unknown"}
    assert not tell(policy="warn", before=[unknown], during=[], after=[], excluded=[])
