"""The Apple GPU's memory across torch versions, its watermarks, and who may touch ``torch.mps``."""

import ast
from pathlib import Path

import pytest
import torch

import sdperf
from sdperf.device import mps as mps_module
from sdperf.device import select_device
from sdperf.device.mps import MpsDevice
from sdperf.device.mps_watermarks import Watermarks, parse_watermarks
from sdperf.errors import ConfigurationError
from tests.support.recorded_mps import RECOMMENDED_BYTES, RecordedMps

PACKAGE = Path(sdperf.__file__).parent
STANDS_IN = "mps_check/recorder.py"
"""Replaces functions of ``torch.mps`` while it stands in for a Mac; it calls none of them."""

MAKES_AS_THERE = "mps_check/preparing.py"
"""Replaces whether MPS is available for diffusers and transformers; asks for all others."""

MAY_TOUCH = {"device/mps.py", STANDS_IN, MAKES_AS_THERE}


def find_mps_use(source):
    """Find where code reaches ``torch.mps``, ``torch.backends.mps`` or ``torch.accelerator``."""
    if "mps" not in source and "accelerator" not in source:
        return []
    forbidden = {"torch.mps", "torch.backends.mps", "torch.accelerator"}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in forbidden:
            found.append((node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            found += [(node.lineno, name) for name in names & forbidden]
            found += [(node.lineno, node.module)] * node.module.startswith("torch.mps.")
        elif isinstance(node, ast.Import):
            found += [
                (node.lineno, alias.name)
                for alias in node.names
                if alias.name.startswith(tuple(forbidden))
            ]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and node.args[1:]:
            what = ast.unparse(node.args[0]), ast.unparse(node.args[1]).strip("'\"")
            found += [(node.lineno, "getattr")] * (".".join(what) in forbidden)
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_only_one_module_touches_torch_mps(path):
    use = find_mps_use(path.read_text(encoding="utf-8"))
    assert path.relative_to(PACKAGE).as_posix() in MAY_TOUCH or use == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.mps.synchronize()",
        "if torch.backends.mps.is_available(): pass",
        "from torch import mps",
        "from torch.mps import synchronize",
        "from torch.mps.event import Event",
        "import torch.mps.event",
        "torch.accelerator.synchronize()",
        "getattr(torch, 'mps').synchronize()",
    ],
)
def test_every_way_round_is_seen(line):
    assert find_mps_use(line)


def test_what_stands_in_for_a_mac_replaces_functions_and_calls_none():
    tree = ast.parse((PACKAGE / STANDS_IN).read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not any(name.startswith(("torch.mps", "torch.accelerator")) for name in called)


def test_the_module_that_may_uses_no_event():
    tree = ast.parse((PACKAGE / "device" / "mps.py").read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "synchronize" in names
    assert names.isdisjoint({"Event", "event", "elapsed_time", "profiler"})


def make_device(monkeypatch, *arguments, **options):
    recorded = RecordedMps(*arguments, **options)
    monkeypatch.setattr(mps_module, "torch", recorded.torch)
    return MpsDevice(), recorded


@pytest.mark.parametrize(
    ("version", "sampled"),
    [
        ("2.6.0", True),
        ("2.12.1", True),
        ("2.13.0", False),
        ("2.13.0+cpu", False),
        ("2.14.0a0+git1234567", False),
        ("2.15.0.dev20260919", False),
    ],
)
def test_the_peak_is_counted_from_torch_2_13_and_sampled_before(monkeypatch, version, sampled):
    device, recorded = make_device(monkeypatch, version)
    assert device.peak_is_sampled is sampled
    device.reset_peak()
    recorded.allocate(100)
    recorded.free(100)  # between two borders: only a counter sees it
    recorded.allocate(40)
    device.synchronize()
    recorded.free(40)
    assert device.peak_bytes() == (40 if sampled else 100)
    assert ("max" in recorded.log) is not sampled


def test_a_build_of_a_new_torch_without_the_counter_is_sampled(monkeypatch):
    device, recorded = make_device(monkeypatch, "2.14.0", counts_peaks=False)
    assert device.peak_is_sampled
    recorded.allocate(7)
    assert device.peak_bytes() == 7


def test_a_counter_that_shows_less_than_was_seen_is_not_believed(monkeypatch):
    device, recorded = make_device(monkeypatch, "2.13.0")
    device.reset_peak()
    recorded.allocate(50)
    recorded.counted_peak_bytes = 0
    assert device.peak_bytes() == 50


def test_the_recommended_limit_is_unknown_where_torch_has_no_name_for_it(monkeypatch):
    device, _ = make_device(monkeypatch, recommends=False)
    assert device.describe().memory_bytes is None
    device, _ = make_device(monkeypatch)
    assert device.describe().memory_bytes == RECOMMENDED_BYTES


def test_watermarks_that_torch_would_refuse_are_refused_before_a_model_loads(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device("mps").kind == "mps"
    monkeypatch.setenv("PYTORCH_MPS_HIGH_WATERMARK_RATIO", "0.7")
    with pytest.raises(ConfigurationError, match=r"above the high one.*LOW_WATERMARK_RATIO=0\.56"):
        select_device("mps")
    monkeypatch.setenv("PYTORCH_MPS_LOW_WATERMARK_RATIO", "0.56")
    assert select_device("mps").kind == "mps"


def test_watermarks():
    high, low = "PYTORCH_MPS_HIGH_WATERMARK_RATIO", "PYTORCH_MPS_LOW_WATERMARK_RATIO"
    assert parse_watermarks({}) == parse_watermarks({high: ""}) == Watermarks(1.7, 1.4, ())
    assert parse_watermarks({high: "0.0"}) == Watermarks(0.0, 1.4, (high,))
    assert parse_watermarks({low: "1.7", "OTHER": "9"}) == Watermarks(1.7, 1.7, (low,))
    assert parse_watermarks({high: "2.0", low: "0"}).chosen == (high, low)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HIGH": "2.01"}, "too large"),
        ({"HIGH": "-1"}, "no ratio"),
        ({"HIGH": "half"}, "no ratio"),
        ({"LOW": "inf"}, "no ratio"),
        ({"LOW": "nan"}, "no ratio"),
        ({"LOW": "1.71"}, "above the high one"),
        ({"HIGH": "0", "LOW": "2.5"}, "at most 2"),
    ],
)
def test_watermarks_that_torch_refuses_or_misreads(variables, words):
    named = {f"PYTORCH_MPS_{name}_WATERMARK_RATIO": value for name, value in variables.items()}
    with pytest.raises(ConfigurationError, match=words):
        parse_watermarks(named)
