"""A few of the fuzzer's mutations, the same each time; and it finds what it is there to find."""

import json
import random
from pathlib import Path

import tools.fuzz_readers
from tools.fuzz_readers import READERS, fuzz, mutate

RUN = Path(__file__).parents[2] / "docs/results/cpu-embedded/run.json"


def test_no_command_ends_in_a_traceback(tmp_path):
    """A report draws half a second of figures for most of them: it gets fewer."""
    for draws, mutations in ((False, 12), (True, 4)):
        readers = [one for one in READERS if (one.name == "report") is draws]
        assert list(fuzz(RUN, tmp_path, mutations, 7, readers)) == []


def test_a_traceback_is_found(tmp_path, monkeypatch):
    def stumble(arguments):
        raise KeyError(arguments[0])

    monkeypatch.setattr(tools.fuzz_readers, "main", stumble)
    found = list(fuzz(RUN, tmp_path, mutations=1, seed=1))
    assert len(found) == len(tools.fuzz_readers.READERS)
    assert "KeyError" in found[0][1]


def test_equal_seeds_make_equal_mutations_and_each_is_another():
    document = {"benchmarks": [{"stats": {"data": [1, 2, 3]}, "fullname": "x"}], "sdperf": {"a": 1}}
    made = [mutate(document, random.Random(f"1/{number}")) for number in range(50)]
    assert made == [mutate(document, random.Random(f"1/{number}")) for number in range(50)]
    assert len(set(made)) > 20
    assert made.count(json.dumps(document).encode()) < 10
