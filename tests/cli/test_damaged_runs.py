"""Two damages of a saved run that once ended in a traceback, through commands that read one."""

import json
from pathlib import Path

import pytest

import tests
from sdperf.cli import main

RUN = Path(tests.__file__).parents[1] / "docs/results/cpu-embedded/run.json"


def cut_a_curve(record):
    """Leave a curve more times than values."""
    usage = record["resources"]
    curve = next(one for one in usage.values() if isinstance(one, dict) and one.get("values"))
    curve["values"] = curve["values"][:-1]


def drop_images(record):
    record["images"] = []


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
    document = json.loads(RUN.read_text())
    document["benchmarks"] = document["benchmarks"][:1]
    name = document["benchmarks"][0]["fullname"]
    document["sdperf"]["outcomes"] = {name: document["sdperf"]["outcomes"][name]}
    Path("good.json").write_text(json.dumps(document))
    damage(document["benchmarks"][0]["extra_info"]["sdperf"])
    Path("bad.json").write_text(json.dumps(document))
    status = main(words.split())
    assert status in (0, 1, 2)
    assert (status == 2) == bool(capsys.readouterr().err.startswith("sdperf "))
