"""What a program says is checked, cleaned and cut before anything is stored or printed."""

import json

import numpy as np
import pytest

from sdperf.engines.external import program
from sdperf.engines.external.program import decode_picture, describe_breach
from sdperf.engines.external.protocol import (
    ReplyError,
    parse_facts,
    parse_loaded,
    parse_picture,
    parse_reply,
)
from sdperf.errors import EngineError, GenerationError, WorkerError
from sdperf.images.png import encode_png
from sdperf.record.workload import ImageRequest, Workload

EVIL = "a\x1b[2J\x07\u202e\n::error::b"
FACTS = {"protocol": 1, "name": "toy", "version": "1", "model": "m", "device": "cpu"}
PICTURE = {"id": 1, "seed": 7, "bytes": 10}
FOX = ImageRequest("a fox", 7)


class Silent:
    def summarise(self):
        return ""


def decode(png, width=8, height=8):
    workload = Workload("hashes", ("a fox",), 3, None, width=width, height=height)
    return decode_picture("toy", png, workload, Silent())


def test_nothing_that_a_terminal_obeys_is_taken_from_a_program():
    texts = dict.fromkeys(("name", "version", "model", "device_name", "precision"), EVIL)
    facts = parse_facts({**FACTS, **texts, "versions": {EVIL: EVIL}})
    header = parse_picture({**PICTURE, "stages": {EVIL: 1.0}}, 1, FOX)
    with pytest.raises(GenerationError) as raised:
        parse_reply(json.dumps({"ok": False, "error": EVIL}).encode())
    said = [getattr(facts, name) for name in texts]
    said += [*facts.versions, *facts.versions.values(), *header.unknown_stages, str(raised.value)]
    assert len(said) == 9
    for text in said:
        assert text.isprintable()
        assert "?" in text


@pytest.mark.parametrize(
    "seconds", [10**400, -1, 1e300, True, "1"], ids=["digits", "negative", "float", "bool", "text"]
)
def test_seconds_have_bounds(seconds):
    with pytest.raises(ReplyError, match="seconds"):
        parse_loaded({"seconds": seconds})


def test_true_is_no_number():
    with pytest.raises(EngineError, match="another version"):
        parse_facts({**FACTS, "protocol": True})
    with pytest.raises(ReplyError, match="another request"):
        parse_picture({**PICTURE, "id": True}, 1, FOX)


def test_what_is_told_of_a_breach_is_cut():
    with pytest.raises(EngineError) as version:
        parse_facts({**FACTS, "protocol": [0] * 10**5})
    with pytest.raises(EngineError) as name:
        parse_facts({**FACTS, "name": [0] * 10**5})
    with pytest.raises(ReplyError) as seed:
        parse_picture({**PICTURE, "seed": [0] * 10**5}, 1, FOX)
    breach = describe_breach("toy", "drew", "x" * 10**5)
    for text in (str(version.value), str(name.value), seed.value.got, str(breach)):
        assert 200 <= len(text) < 500


def test_the_size_is_looked_at_before_a_picture_is_decoded(monkeypatch):
    monkeypatch.setattr(program, "decode_png", None)  # would fail otherwise
    with pytest.raises(WorkerError, match="asked for 8 x 8 px, drawn 16 x 24 px"):
        decode(encode_png(np.zeros((24, 16, 3), np.uint8)))


def test_data_after_the_end_of_a_picture_is_refused():
    png = encode_png(np.zeros((8, 8, 3), np.uint8))
    assert decode(png).shape == (8, 8, 3)
    with pytest.raises(WorkerError, match="5 bytes after its end"):
        decode(png + b"hello")
