import base64
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdperf.errors import RecordError, SdperfError
from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.judging.session.limits import Limits
from sdperf.record.verdict import SettledCase
from sdperf.report.html import raw_data
from sdperf.report.html.raw_data import ELEMENT_ID, find_raw_data, pack_machines, read_report
from tests.support.reported_runs import real_run, slowed, with_hostile_names

NAME = "benchmarks/test_latency.py::test_latency[fp32-sync-1w]"


def make_machine(**changes):
    runs = [
        parse_reported_run("before.json", real_run()),
        parse_reported_run("after.json", slowed(real_run(), 1.6, only="test_throughput")),
    ]
    return judge_machine(runs, **changes)


def page(packed):
    return f'<p>text<script id="{ELEMENT_ID}" type="application/octet-stream">{packed}</script></p>'


def write(tmp_path, packed):
    path = tmp_path / "report.html"
    path.write_text(page(packed))
    return path


def pack(document):
    return base64.b64encode(gzip.compress(json.dumps(document).encode())).decode()


def unpack(packed):
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_what_goes_in_comes_out_and_is_judged_alike(tmp_path):
    limits = Limits(own_slowdowns={NAME: 0.5})
    settled = {NAME: SettledCase("SLOWER", "settled")}
    machine = make_machine(limits=limits, settled=settled, notes=("1 suspect",))
    ((again, said),) = read_report(write(tmp_path, pack_machines([machine])))
    assert again.cases == machine.cases
    assert again.suite == machine.suite
    assert (again.limits, again.settled, again.notes) == (limits, settled, ("1 suspect",))
    assert said == {case.name: case.verdict.outcome.value for case in machine.cases}
    assert again.head.document == machine.head.document


def test_other_limits_are_another_verdict(tmp_path):
    path = write(tmp_path, pack_machines([make_machine()]))
    wide = Limits(max_slowdown=5, suite_slowdown=5, gross_slowdown=5)
    ((again, said),) = read_report(path, lambda _: wide)
    assert {case.verdict.outcome.value for case in again.cases} == {"PASS"}
    assert "SLOWER" in said.values()


def test_equal_data_give_equal_text_and_bases_are_lean():
    machine = make_machine()
    packed = pack_machines([machine])
    assert packed == pack_machines([machine])
    base, head = unpack(packed)["machines"][0]["runs"]
    assert "resources" not in base["document"]["benchmarks"][0]["extra_info"]["sdperf"]
    assert "resources" in head["document"]["benchmarks"][0]["extra_info"]["sdperf"]


def test_no_name_in_a_run_can_leave_the_element(tmp_path):
    machine = judge_machine([parse_reported_run("x.json", with_hostile_names(real_run()))])
    packed = pack_machines([machine])
    assert "<" not in packed
    ((again, _),) = read_report(write(tmp_path, packed))
    assert again.cases == machine.cases


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda packed: packed[: len(packed) // 2], "damaged"),
        (lambda packed: packed[:-10] + "AAAAAAAAAA", "damaged"),
        (lambda packed: "!" + packed, "damaged"),
        (lambda _: "", "damaged"),
        (lambda _: pack([]), "damaged"),
        (lambda _: pack({"format_version": 99}), "format version 99"),
        (lambda _: pack({"format_version": 1}), "machines cannot be read"),
        (lambda _: pack({"format_version": 1, "machines": [3]}), "a machine cannot be read"),
        (lambda _: pack({"format_version": 1, "machines": [{"runs": []}]}), "runs cannot be read"),
        (lambda _: pack({"format_version": 1, "machines": [{"runs": [{}]}]}), "name cannot"),
        (lambda packed: f"{packed}</script><script id={ELEMENT_ID}>{packed}", "holds no raw data"),
    ],
)
def test_damage_is_one_clear_message(tmp_path, damage, words):
    path = write(tmp_path, damage(pack_machines([make_machine()])))
    with pytest.raises(RecordError) as caught:
        read_report(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_page_without_runs_is_not_called_damaged(tmp_path):
    path = write(tmp_path, pack_machines([]))
    with pytest.raises(RecordError) as caught:
        read_report(path)
    assert "report.html holds no run, so that there is nothing to judge again" in str(caught.value)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "<html>", "not html \x00 at all", f"<script id={ELEMENT_ID}>AAAA", "<![CDATA["]
)
def test_a_page_without_data_is_refused(tmp_path, text):
    path = tmp_path / "report.html"
    path.write_text(text)
    with pytest.raises(RecordError, match="holds no raw data"):
        read_report(path)


def test_files_that_are_no_report_are_refused(tmp_path, monkeypatch):
    with pytest.raises(RecordError, match=r"read; got: No such file or directory; do: name a"):
        read_report(tmp_path / "none.html")
    (tmp_path / "bytes.html").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="cannot be read"):
        read_report(tmp_path / "bytes.html")
    monkeypatch.setattr(raw_data, "LARGEST_REPORT_BYTES", 10)
    (tmp_path / "large.html").write_text("x" * 11)
    with pytest.raises(RecordError, match="at most 10"):
        read_report(tmp_path / "large.html")


def test_a_small_file_cannot_unpack_to_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_data, "LARGEST_DATA_BYTES", 1000)
    path = write(tmp_path, base64.b64encode(gzip.compress(b" " * 1_000_000)).decode())
    with pytest.raises(RecordError, match="far more than a report holds"):
        read_report(path)


def test_only_the_element_is_looked_at():
    packed = "QUJD"
    assert find_raw_data(page(packed)) == packed
    assert find_raw_data(f"<!-- <script id={ELEMENT_ID}>x</script> -->{page(packed)}") == packed
    assert find_raw_data(f"<p>{ELEMENT_ID}</p><script>1</script>") is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_refused_without_a_traceback(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "report.html"
    path.write_bytes(page(text).encode("utf-8", "replace"))
    with pytest.raises(SdperfError):
        read_report(path)
