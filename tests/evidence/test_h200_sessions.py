"""Where a session's first call goes, and how fast a block's products are: a real tiny one."""

import argparse
import json
import logging
import types

import pytest
import torch

from evidence.h200_levers import products, second_session
from sdperf.pipeline.kept_code import stop_keeping_code


def run(monkeypatch, output, sessions, answers):
    started = []

    def answer(command, *, env, **_):
        started.append((command, env))
        return types.SimpleNamespace(stdout=answers.pop(0), stderr="no such device")

    monkeypatch.setattr(second_session.subprocess, "run", answer)
    monkeypatch.setattr(
        "sys.argv",
        ["s", "z_image_turbo", "--tiny", "--json", str(output), "--sessions", sessions],
    )
    second_session.main()
    return started, json.loads(output.read_text())


def test_sessions_share_a_folder_and_a_failed_one_costs_the_others_nothing(tmp_path, monkeypatch):
    answers = ['noise\n{"first_call_s": 26.5}\n', "", '{"first_call_s": 4.9}\n']
    sessions = "nothing kept A_SWITCH=1,stages,kept"
    started, found = run(monkeypatch, tmp_path / "found.json", sessions, answers)
    assert [one["session"] for one in found["sessions"]] == ["nothing kept", "stages", "kept"]
    assert [one.get("first_call_s") for one in found["sessions"]] == [26.5, None, 4.9]
    assert found["sessions"][1]["failed"] == "no such device"
    assert found["sessions"][0]["environment"] == {"A_SWITCH": "1"}
    assert len({env["SDPERF_CACHE"] for _, env in started}) == 1
    assert started[0][1]["A_SWITCH"] == "1"
    assert "A_SWITCH" not in started[2][1]
    assert started[2][0][-1] == "--tiny"


@pytest.fixture
def listened():
    """Let the loggers of torch's caches be as before."""
    loggers = [logging.getLogger(name) for name in second_session.CACHES]
    before = [(one.level, one.propagate, list(one.handlers)) for one in loggers]
    yield loggers
    for one, (level, propagate, handlers) in zip(loggers, before, strict=True):
        one.setLevel(level)
        one.propagate, one.handlers = propagate, handlers


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
@pytest.mark.parametrize("child", [second_session.STAGES, "kept"])
def test_a_tiny_session_says_where_its_first_call_went(monkeypatch, tmp_path, child, listened):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path))
    monkeypatch.setenv("SDPERF_SESSION_START", "0")
    asked = argparse.Namespace(
        model="z_image_turbo", device="cpu", tiny=True, child=child, set="compile_blocks"
    )
    with torch._dynamo.config.patch(disable=True):  # a compiler takes minutes here
        found = second_session._be_a_session(asked)
    stop_keeping_code()
    assert found["set"] == "compile_blocks+kept_code"
    assert found["build_s"] > 0
    if child == second_session.STAGES:
        assert found["first_stages"]["denoise_s"] > 0
    else:
        assert found["third_call_s"] > 0


def test_why_code_is_not_kept_is_noted(listened):
    reasons = second_session._note_reasons()
    for one in listened:
        one.info("Bypassing autograd cache due to: %s", "a reason")
        one.info("something else")
    assert reasons == ["Bypassing autograd cache due to: a reason"] * 2


def test_flop_per_second_of_a_product_and_of_attention():
    def one_ms(call):
        call()
        return 1.0

    assert products.time_product(4, 8, 16, one_ms, "cpu")["tflops"] == 0.0
    found = products.time_product(256, 1024, 1024, one_ms, "cpu")
    assert found["tflops"] == round(2 * 256 * 1024 * 1024 / 1e9, 1)
    found = products.time_attention(512, 4, 64, 1, "flash", one_ms, "cpu")
    assert found["tflops"] == round(4 * 4 * 512 * 512 * 64 / 1e9, 1)
