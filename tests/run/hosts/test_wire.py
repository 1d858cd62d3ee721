import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sdperf.errors import GenerationError, SdperfError
from sdperf.models.loader import ResolvedModel
from sdperf.record.measurement import MemoryUsage
from sdperf.record.workload import ImageRequest, Workload
from sdperf.run.hosts.wire import (
    LARGEST_FRAME_BYTES,
    WireError,
    decode,
    encode,
    read_frame,
    write_frame,
)
from sdperf.run.messages import DeliveredImage, RoundRequest, RoundResult, WorkerSpec

WORKLOAD = Workload("m", ("a", "b"), 4, 5.0, height=64)
MODEL = ResolvedModel("m", Path("/models/m"), "0" * 64, "StableDiffusionPipeline", ("a.json",))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        0.1,
        "text",
        b"\x00\xff",
        (),
        (1, ("a", None)),
        [1, 2],
        {"a": (1,), 3: [b"x"]},
        Path("/some/where"),
        WorkerSpec(MODEL, "fp16", "cpu", "mine:make", ("/code",)),
        RoundRequest(WORKLOAD, (ImageRequest("a", 0),), "async", 2, start_at_s=1.5),
        RoundResult(1.0, 2.0, (DeliveredImage(b"png", 1.0, nonfinite=False),), MemoryUsage(5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_crosses_comes_back_equal(value):
    assert decode(encode(value)) == value


def test_a_round_of_an_older_revision_says_its_memory_one_by_one():
    sent = encode(RoundResult(1.0, 2.0, ()))
    del sent["fields"]["memory"]
    sent["fields"] |= {"peak_rss_bytes": 5, "peak_device_sampled": True}
    memory = MemoryUsage(peak_rss_bytes=5, peak_device_sampled=True)
    assert decode(sent) == RoundResult(1.0, 2.0, (), memory)


def test_infinity_and_nan_cross():
    stream = io.BytesIO()
    write_frame(stream, {"value": encode((math.inf, math.nan))})
    stream.seek(0)
    one, other = decode(read_frame(stream)["value"])
    assert one == math.inf
    assert math.isnan(other)


def test_an_error_crosses_whole():
    crossed = decode(encode(GenerationError("no image", got=3, expected="4", hint="try")))
    assert type(crossed) is GenerationError
    assert str(crossed) == "no image; got: 3; expected: 4; do: try"


def test_fields_of_another_revision_are_left_out_and_missing_ones_take_their_defaults():
    sent = encode(WORKLOAD)
    sent["fields"]["invented_later"] = 1
    del sent["fields"]["height"]
    assert decode(sent) == Workload("m", ("a", "b"), 4, 5.0)
    del sent["fields"]["prompts"]
    with pytest.raises(WireError, match="prompts"):
        decode(sent)


@dataclass(frozen=True)
class Stranger:
    value: int = 1


@pytest.mark.parametrize(
    "hostile",
    [
        {"$": "record", "class": "os:system", "fields": {}},
        {"$": "record", "class": "sdperfect:Evil", "fields": {}},
        {"$": "record", "class": "sdperf.errors:SdperfError", "fields": {}},
        {"$": "record", "class": "sdperf.record.workload:Nothing", "fields": {}},
        {"$": "record", "class": "sdperf.gone:Workload", "fields": {}},
        {"$": "error", "class": "sdperf.record.workload:Workload", "what": "x"},
        {"$": "bytes", "base64": "!"},
        {"$": "list"},
        {"$": "unheard of"},
        {},
    ],
    ids=str,
)
def test_only_known_values_of_sdperf_are_made(hostile):
    with pytest.raises(WireError):
        decode(hostile)


def test_what_does_not_travel_is_refused_by_name():
    with pytest.raises(WireError, match="ndarray"):
        encode((np.zeros(2),))
    with pytest.raises(WireError, match="no class of sdperf"):
        decode(encode(Stranger()))


@pytest.mark.parametrize("cut", [0, 3, 8, 12])
def test_a_frame_cut_short_is_the_end(cut):
    stream = io.BytesIO()
    write_frame(stream, {"id": 1})
    assert read_frame(io.BytesIO(stream.getvalue()[:cut])) is None


@pytest.mark.parametrize(
    "damaged",
    [
        (LARGEST_FRAME_BYTES + 1).to_bytes(8, "big"),
        (3).to_bytes(8, "big") + b"abc",
        (2).to_bytes(8, "big") + b"[]",
    ],
)
def test_a_damaged_frame_is_named(damaged):
    with pytest.raises(WireError, match="a frame"):
        read_frame(io.BytesIO(damaged))


def test_errors_of_the_tree_keep_their_class():
    for kind in SdperfError.__subclasses__():
        if kind.__module__ == "sdperf.errors":
            assert type(decode(encode(kind("what")))) is kind
