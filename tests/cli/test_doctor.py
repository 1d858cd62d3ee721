"""``sdperf doctor`` on a Mac and a server that are not here, and on this machine."""

import argparse
import json
import sys

import pytest

from sdperf.cli.machine import doctor
from sdperf.measure.resources.nvidia import NvmlGpu
from sdperf.measure.system import LIVE_SYSTEM
from sdperf.record.guard import Guard
from sdperf.record.json import format_record, parse_record
from sdperf.report.text.doctor import DoctorReport, format_doctor
from tests.support.columns import count_columns
from tests.support.systems import SYSCTL, make_linux, make_mac

PACKAGES = {"torch": "2.13.0", "diffusers": "0.42.1", "transformers": "5.23.0"}


def parse(*words):
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(["doctor", *words])


def states(guards):
    return {guard.name: guard.state for guard in guards}


def test_a_healthy_mac():
    environ = {"PYTORCH_MPS_HIGH_WATERMARK_RATIO": "0.0"}
    report = doctor.collect_report(make_mac(packages=PACKAGES, environ=environ))
    assert report.environment.device_kind == "mps"
    assert report.environment.device_name == "Apple M9 Max"
    assert report.environment.gpu_cores == 37
    assert report.fingerprint == report.environment.fingerprint()
    assert states(report.checks) == {
        "torch": "ok",
        "diffusers": "ok",
        "transformers": "ok",
        "macOS": "ok",
        "torch for this Mac": "ok",
        "memory footprint": "unknown",
    }
    assert {probe.name: probe.reason is None for probe in report.probes} == {
        "psutil": True,
        "zeus-apple-silicon": False,
        "ioreg": True,
        "macmon": False,
        "powermetrics": False,
    }
    text = format_doctor(report)
    for part in ("Apple M9 Max", "brew install macmon", "pip install 'sdperf[apple]'", "0.0"):
        assert part in text


def test_what_a_mac_lacks():
    old = "machdep.cpu.brand_string: Apple M1\nkern.osproductversion: 13.6\n"
    report = doctor.collect_report(make_mac({"/usr/sbin/sysctl -i": old}))
    found = states(report.checks)
    assert (found["torch"], found["macOS"]) == ("fail", "fail")
    assert "not fit to measure" in format_doctor(report)
    silent = doctor.collect_report(make_mac({"/usr/sbin/sysctl -i": None}, packages=PACKAGES))
    assert states(silent.checks)["macOS"] == "unknown"


@pytest.mark.parametrize(
    ("macos", "torch", "best", "words"),
    [
        ("26.5", "2.12.1", "2.15.0", "it avoids "),
        ("26.5", "2.15.0", "2.15.0", "2.15.0 has the fewest known faults here ("),
        ("26.5", "2.99.0", "2.15.0", "yours is newer than the list"),
        ("13.6", "2.8.0", "2.6.0", "it avoids "),
    ],
)
def test_the_best_known_torch_is_named_in_one_line_with_its_reason(macos, torch, best, words):
    facts = f"machdep.cpu.brand_string: Apple M4\nkern.osproductversion: {macos}\n"
    packages = PACKAGES | {"torch": torch}
    report = doctor.collect_report(make_mac({"/usr/sbin/sysctl -i": facts}, packages=packages))
    (guard,) = [one for one in report.checks if one.name == "torch for this Mac"]
    assert guard.state == "ok"
    assert guard.value == torch
    assert guard.sentence.startswith(best)
    assert words in guard.sentence
    assert "torch for this Mac" in format_doctor(report)


def test_an_intel_mac_is_a_cpu():
    environ = {"CUDA_VISIBLE_DEVICES": ""}  # NVML is that of the machine that tests
    intel = make_mac(packages=PACKAGES, machine="x86_64", environ=environ)
    report = doctor.collect_report(intel)
    assert report.environment.device_kind == "cpu"


@pytest.mark.parametrize(("ours", "state"), [(3_000_000_000, "ok"), (16_384, "warn")])
def test_our_footprint_is_held_against_apples(monkeypatch, ours, state):
    from sdperf.measure.resources.apple.apple_parsers import ProcessReading

    monkeypatch.setattr(doctor, "read_process_usage", lambda pid: ProcessReading(ours))
    says = {"/usr/bin/footprint --noCategories -f bytes -p": "phys_footprint: 3000000000 B\n"}
    report = doctor.collect_report(make_mac(says, packages=PACKAGES))
    assert states(report.checks)["memory footprint"] == state


class Board(NvmlGpu):
    def __init__(self):
        self.closed = False

    def read_name(self):
        return "Example B900"

    def read_multiprocessors(self):
        return 132

    def read_utilisation(self):
        return 0.0, 0.0

    def read_users(self):
        return ()

    def read_clock_events(self):
        return 0

    def close(self):
        self.closed = True


def test_a_server_with_a_board(monkeypatch):
    board = Board()
    monkeypatch.setattr(doctor, "open_nvml", lambda visible: board)
    report = doctor.collect_report(make_linux(packages=PACKAGES))
    assert report.environment.device_kind == "cuda"
    assert (report.environment.device_name, report.environment.gpu_cores) == ("Example B900", 132)
    assert states(report.guards)["GPU clocks"] == "ok"
    assert board.closed
    without = doctor.collect_report(make_linux(packages=PACKAGES | {"torch": "2.13.0+cpu"}))
    assert without.environment.device_kind == "cpu"
    assert states(without.checks)["torch build"] == "warn"


def test_a_repository_without_a_commit_is_not_said_to_be_none():
    lines = format_doctor(doctor.collect_report(make_linux(packages=PACKAGES))).splitlines()
    (row,) = (line for line in lines if line.split()[:1] == ["commit"])
    assert row.endswith("none (no git repository with a commit here)")


def test_no_line_is_longer_than_100_columns():
    environ = {f"PYTORCH_{name}": "x" * 70 for name in ("FIRST", "SECOND", "THIRD")}
    for system in (make_mac(environ=environ), make_linux(environ=environ), LIVE_SYSTEM):
        lines = format_doctor(doctor.collect_report(system)).splitlines()
        assert max(map(count_columns, lines)) <= 100


def test_the_verdict_and_its_colours():
    def made(*guard_states):
        guards = tuple(Guard(state, state, "value", "sentence") for state in guard_states)
        report = doctor.collect_report(make_linux(packages=PACKAGES))
        return DoctorReport(
            report.environment, "key", ("bf16",), (), guards, report.probes, report.took_s
        )

    assert format_doctor(made("ok")).endswith("\nfit to measure")
    care = "\nfit to measure with care: 1 warn, 1 unknown (never taken for ok)"
    assert format_doctor(made("warn", "unknown")).endswith(care)
    failed = format_doctor(made("fail", "ok"), colour=True)
    assert "\x1b[1;31mnot fit to measure: 1 fail, 0 warn, 0 unknown\x1b[0m" in failed
    assert "\x1b" not in format_doctor(made("fail", "ok"))


@pytest.mark.parametrize(
    ("guard_states", "words", "status"),
    [
        (("ok",), (), 0),
        (("ok", "warn", "unknown"), (), 0),
        (("ok", "warn"), ("--strict",), 1),
        (("unknown",), ("--strict",), 1),
        (("ok",), ("--strict",), 0),
        (("fail", "ok"), (), 1),
    ],
)
def test_exit_status(monkeypatch, capsys, guard_states, words, status):
    report = doctor.collect_report(make_linux(packages=PACKAGES))
    guards = tuple(Guard(state, state, None, "sentence") for state in guard_states)
    told = DoctorReport(report.environment, "key", (), (), guards, (), 0.1)
    monkeypatch.setattr(doctor, "collect_report", lambda: told)
    assert doctor.run(parse(*words)) == status
    assert "fit to measure" in capsys.readouterr().out


def test_json_holds_the_whole_report(monkeypatch, capsys):
    report = doctor.collect_report(make_mac(packages=PACKAGES))
    monkeypatch.setattr(doctor, "collect_report", lambda: report)
    doctor.run(parse("--json"))
    document = json.loads(capsys.readouterr().out)
    assert document == format_record(report)
    assert parse_record(DoctorReport, document) == report


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_that_want_it(monkeypatch, capsys, no_color, coloured):
    report = doctor.collect_report(make_linux(packages=PACKAGES))
    monkeypatch.setattr(doctor, "collect_report", lambda: report)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    doctor.run(parse())
    assert ("\x1b[" in capsys.readouterr().out) is coloured


def test_it_runs_here_and_loads_no_torch():
    code = (
        "import sys; from sdperf.cli.machine import doctor; doctor.collect_report(); "
        "print(sorted({'torch', 'diffusers', 'numpy'} & set(sys.modules)))"
    )
    assert LIVE_SYSTEM.run(sys.executable, "-W", "error", "-c", code, timeout_s=60.0) == "[]\n"


@pytest.mark.parametrize(
    ("gib", "states"),
    [
        (8, {"stable-diffusion-v1-5": "ok", "stable-diffusion-xl-base-1.0": "fail"}),
        (16, {"sd-turbo": "ok", "stable-diffusion-xl-base-1.0": "warn"}),
        (64, {"sdxl-turbo": "ok", "stable-diffusion-xl-base-1.0": "ok"}),
    ],
)
def test_models_that_the_memory_holds(gib, states):
    found = {guard.name: guard.state for guard in doctor.judge_models(gib * 2**30)}
    assert states.items() <= found.items()
    assert "embedded" not in found
    assert doctor.judge_models(None) == ()


def test_models_are_shown_and_are_part_of_no_verdict():
    small = SYSCTL.replace("hw.memsize: 68719476736", "hw.memsize: 4294967296")
    report = doctor.collect_report(make_mac({"/usr/sbin/sysctl -i": small}, packages=PACKAGES))
    text = format_doctor(report)
    assert "fp16 6.46 GiB, 1024 px, 50 steps: does not fit" in " ".join(text.split())
    assert report.count("fail") == 0
    assert max(map(count_columns, text.splitlines())) <= 100
