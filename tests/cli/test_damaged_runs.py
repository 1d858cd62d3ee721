"""Two damages of a saved run that once ended in a traceback, through commands that read one."""

import base64
import gzip
import json
from pathlib import Path

import pytest

import tests
from sdperf.cli import main
from sdperf.report.html.raw_data import ELEMENT_ID, find_raw_data

RUN = Path(tests.__file__).parents[1] / "docs/results/cpu-embedded/run.json"


def cut_a_curve(record):
    """Leave a curve more times than values."""
    usage = record["resources"]
    curve = next(one for one in usage.values() if isinstance(one, dict) and one.get("values"))
    curve["values"] = curve["values"][:-1]


def drop_images(record):
    record["images"] = []


def read_one_case():
    """Return the run as if it had had its first case only."""
    document = json.loads(RUN.read_text())
    document["benchmarks"] = document["benchmarks"][:1]
    name = document["benchmarks"][0]["fullname"]
    document["sdperf"]["outcomes"] = {name: document["sdperf"]["outcomes"][name]}
    return document


@pytest.mark.parametrize("damage", [cut_a_curve, drop_images])
@pytest.mark.parametrize(
    "words",
    [
        "report bad.json -o page.html",
        "compare good.json bad.json",
        "compare bad.json good.json",
        "contribute bad.json -o bundle.json",
        "history import bad.json --history h.db",
        "export --format junit bad.json",
    ],
)
def test_a_damaged_run_ends_in_an_answer_or_in_one_message(
    tmp_path, monkeypatch, capsys, damage, words
):
    monkeypatch.chdir(tmp_path)
    document = read_one_case()
    Path("good.json").write_text(json.dumps(document))
    damage(document["benchmarks"][0]["extra_info"]["sdperf"])
    Path("bad.json").write_text(json.dumps(document))
    status = main(words.split())
    assert status in (0, 1, 2)
    assert (status == 2) == bool(capsys.readouterr().err.startswith("sdperf "))


@pytest.mark.parametrize("damage", [cut_a_curve, drop_images])
def test_a_page_of_a_damaged_run_is_refused_in_one_message(tmp_path, monkeypatch, capsys, damage):
    monkeypatch.chdir(tmp_path)
    Path("good.json").write_text(json.dumps(read_one_case()))
    assert main(["report", "good.json", "-o", "page.html"]) == 0
    assert main(["replay", "page.html"]) in (0, 1)
    capsys.readouterr()
    packed = find_raw_data(Path("page.html").read_text())
    document = json.loads(gzip.decompress(base64.b64decode(packed)))
    record = document["machines"][0]["runs"][-1]["document"]["benchmarks"][0]
    damage(record["extra_info"]["sdperf"])
    damaged = base64.b64encode(gzip.compress(json.dumps(document).encode())).decode()
    Path("bad.html").write_text(f'<script id="{ELEMENT_ID}">{damaged}</script>')
    status = main(["replay", "bad.html"])
    shown = capsys.readouterr()
    assert status in (0, 1, 2)
    assert (status == 2) == shown.err.startswith("sdperf replay: bad.html")
    assert shown.err.count("\n") <= 1
