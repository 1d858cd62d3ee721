"""Raspberry Pi class boards: what their kernel and firmware say, also cut off or hostile."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.cli.machine.doctor import collect_report
from sdperf.measure.environment import collect_environment, count_performance_cores
from sdperf.measure.fitness.conditions import Conditions, read_conditions
from sdperf.measure.fitness.guard_changes import compare_guards
from sdperf.measure.fitness.guards import judge_guards
from sdperf.measure.resources.inventory import list_probe_kinds
from sdperf.measure.resources.linux import arm_parsers
from sdperf.measure.resources.linux.arm import (
    CoreKind,
    open_firmware,
    open_sysfs,
    read_cooling_state,
    read_core_kinds,
    read_firmware_flags,
    read_temperature,
)
from sdperf.measure.resources.probe import Missing
from sdperf.report.text.doctor import format_doctor
from tests.support import boards
from tests.support.columns import count_columns
from tests.support.systems import make_linux


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("throttled=0x0\n", 0),
        ("throttled=0x50005\n", 0x50005),
        ("throttled=0xE0008\r\n", 0xE0008),
        ("throttled=0xE0008", None),
        ("", None),
        ("throttled=", None),
        ("throttled=0x", None),
        ("throttled=0x123456789\n", None),
        ("throttled=50005\n", None),
        ('error=1 error_msg="Command not registered"\n', None),
        ("VCHI initialization failed\n", None),
    ],
)
def test_firmware_flags(text, flags):
    assert arm_parsers.parse_throttled(text) == flags


@pytest.mark.parametrize(
    ("text", "celsius"),
    [
        ("temp=48.3'C\n", 48.3),
        ("temp=-3.0'C\n", -3.0),
        ("temp=85'C", 85.0),
        ("temp=999.9'C\n", None),
        ("temp=48.3", None),
        ("temp=nan'C", None),
        ("", None),
    ],
)
def test_board_temperature(text, celsius):
    assert arm_parsers.parse_board_temperature(text) == celsius


@pytest.mark.parametrize(
    ("text", "volts"),
    [("volt=0.8500V\n", 0.85), ("volt=0.0000V\n", None), ("volt=900V", None), ("volt=0.85", None)],
)
def test_board_voltage(text, volts):
    assert arm_parsers.parse_board_voltage(text) == volts


@pytest.mark.parametrize(
    ("text", "celsius"),
    [("48312\n", 48.312), ("-5000\n", -5.0), ("0\n", 0.0), ("999999\n", None), ("48.3\n", None)],
)
def test_zone_temperature(text, celsius):
    assert arm_parsers.parse_zone_temperature(text) == celsius
    assert arm_parsers.parse_zone_temperature(None) is None


PARSERS = (
    arm_parsers.parse_throttled,
    arm_parsers.parse_board_temperature,
    arm_parsers.parse_board_voltage,
    arm_parsers.parse_zone_temperature,
)


@given(st.text(max_size=40), st.sampled_from(PARSERS))
def test_no_text_makes_a_parser_raise(text, parse):
    parse(text)


@given(
    st.sampled_from(["throttled=0x50005\n", "temp=48.3'C\n", "volt=0.8500V\n", "48312\n"]),
    st.integers(0, 18),
    st.sampled_from(PARSERS),
)
def test_no_cut_makes_a_parser_lie(text, end, parse):
    assert parse(text[:end]) in (None, parse(text))


def test_a_raspberry_pi_is_read():
    pi = boards.raspberry_pi()
    found = read_conditions("cpu", system=pi)
    assert (found.firmware_flags, found.temperature_c, found.cooling_state) == (0, 48.3, None)
    assert (found.virtual_machine, found.governor, found.load_per_core) == (False, "ondemand", 0.02)
    where = collect_environment(device_kind="cpu", device_name="", system=pi)
    assert (where.chip, where.machine) == ("Raspberry Pi 5 Model B Rev 1.0", "aarch64")
    assert (where.cpu_cores, where.performance_cores) == (4, 4)
    assert "raspberry-pi-5" in where.fingerprint().lower()


def test_probes_of_a_raspberry_pi():
    pi = boards.raspberry_pi("0x80008")
    names = [kind.name for kind in list_probe_kinds(pi)]
    assert names == ["psutil", "nvml", "vcgencmd", "sysfs"]
    assert open_firmware(pi).read().gauges == {
        "cpu_soc_temperature_c": 49.4,
        "cpu_soc_voltage_v": 0.72,
        "cpu_soc_throttled_percent": 100.0,
    }
    assert open_sysfs(pi).read().gauges == {
        "cpu_soc_temperature_c": 48.3,
        "cpu_soc_clock_mhz": 1500.0,
    }


def test_what_cannot_be_read_is_left_out():
    odd = boards.raspberry_pi("0x0", measure_temp="", measure_volts="volt=?V")
    assert open_firmware(odd).read().gauges == {"cpu_soc_throttled_percent": 0.0}
    mute = boards.raspberry_pi(
        get_throttled="VCHI initialization failed\n", measure_temp="", measure_volts=""
    )
    assert isinstance(open_firmware(mute), Missing)
    assert read_firmware_flags(mute) is None
    assert isinstance(open_firmware(boards.big_little()), Missing)
    assert isinstance(open_sysfs(make_linux()), Missing)
    part = {f"{boards.CPU}/cpu2/cpufreq/scaling_cur_freq": "<busy>"}
    assert "cpu_soc_clock_mhz" not in open_sysfs(boards.raspberry_pi(files=part)).read().gauges


def test_a_program_of_that_name_elsewhere_is_not_asked():
    server = replace(boards.raspberry_pi(), machine="x86_64")
    assert read_firmware_flags(server) is None
    assert server.ran == []
    assert "vcgencmd" not in [kind.name for kind in list_probe_kinds(server)]


def test_zones_and_cooling_of_a_board_with_many():
    board = boards.big_little()
    assert read_temperature(board) == 55.0  # the GPU's 90 degrees are not the processor's
    assert read_cooling_state(board) == 0
    hot = boards.big_little(boards.cooling(1, "thermal-cpufreq-1", 3))
    assert read_cooling_state(hot) == 3
    odd = boards.zone(1, "bigcore0-thermal", "hot") | boards.cooling(0, "thermal-cpufreq-0", "")
    assert read_temperature(boards.big_little(odd)) == 40.1
    assert read_cooling_state(boards.big_little(odd)) == 0
    assert read_temperature(make_linux()) is read_cooling_state(make_linux()) is None


@pytest.mark.parametrize("with_capacity", [True, False])
def test_big_and_little_cores(with_capacity):
    board = boards.big_little(with_capacity=with_capacity)
    assert count_performance_cores(board) == 4
    large, small = (1024, 414) if with_capacity else (None, None)
    assert read_core_kinds(board) == (CoreKind(4, large, 2400.0), CoreKind(4, small, 1800.0))


def test_cores_that_are_alike_or_unknown():
    assert read_core_kinds(boards.raspberry_pi()) == (CoreKind(4, None, 2400.0),)
    assert read_core_kinds(make_linux()) == ()
    assert count_performance_cores(make_linux()) == 8
    turbo = {f"{boards.CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq": "5000000" for cpu in range(6)}
    favoured = {f"{boards.CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq": "5200000" for cpu in (6, 7)}
    assert count_performance_cores(make_linux(turbo | favoured)) == 8


def guard_of(conditions, name):
    return {guard.name: guard for guard in judge_guards(conditions)}.get(name)


@pytest.mark.parametrize(
    ("flags", "throttling", "supply"),
    [
        (0x0, "ok", "ok"),
        (0x1, "ok", "fail"),
        (0x2, "fail", "ok"),
        (0x4, "fail", "ok"),
        (0x8, "fail", "ok"),
        (0x50005, "fail", "fail"),
        (0x10000, "ok", "warn"),
        (0x20000, "warn", "ok"),
        (0x80000, "warn", "ok"),
    ],
)
def test_guards_of_a_raspberry_pi(flags, throttling, supply):
    now = read_conditions("cpu", system=boards.raspberry_pi(hex(flags)))
    assert guard_of(now, "thermal throttling").state == throttling
    assert "48 degrees" in guard_of(now, "thermal throttling").value
    assert guard_of(now, "supply voltage").state == supply


def test_guards_of_a_board_without_that_firmware():
    cool = read_conditions("cpu", system=boards.big_little())
    assert guard_of(cool, "thermal throttling").state == "ok"
    assert guard_of(cool, "supply voltage") is None
    hot = read_conditions(
        "cpu", system=boards.big_little(boards.cooling(0, "thermal-cpufreq-0", 2))
    )
    told = guard_of(hot, "thermal throttling")
    assert (told.state, "by 2 steps" in told.sentence) == ("fail", True)
    assert guard_of(Conditions("linux", "cpu"), "thermal throttling").state == "unknown"


def board(**known):
    return Conditions("linux", "cpu", **known)


@pytest.mark.parametrize(
    ("before", "after", "name", "words"),
    [
        (0x0, 0x4, "thermal throttling", "the processor is throttled"),
        (0x0, 0x40000, "thermal throttling", "the processor is throttled"),
        (0x40000, 0x40004, "thermal throttling", "the processor is throttled"),
        (0x0, 0x10000, "supply voltage", "fell too low"),
        (0x10001, 0x10001, "supply voltage", "fell too low"),
    ],
)
def test_a_round_in_which_the_firmware_lowered_the_clocks_is_invalid(before, after, name, words):
    (guard,) = compare_guards(board(firmware_flags=before), board(firmware_flags=after))
    assert (guard.name, guard.state) == (name, "fail")
    assert words in guard.sentence


def test_a_round_in_which_nothing_new_happened_counts():
    assert compare_guards(board(firmware_flags=0x50000), board(firmware_flags=0x50000)) == ()
    assert compare_guards(board(firmware_flags=None), board(firmware_flags=0x5)) == ()
    assert compare_guards(board(cooling_state=2), board(cooling_state=1)) == ()
    (guard,) = compare_guards(board(cooling_state=0), board(cooling_state=1))
    assert (guard.state, "from step 0 to 1" in guard.sentence) == ("fail", True)


def test_the_doctor_shows_a_board():
    text = format_doctor(collect_report(boards.big_little()))
    assert "4 at 2400 MHz (capacity 1024), 4 at 1800 MHz (capacity 414)" in " ".join(text.split())
    assert "thermal throttling" in text
    assert max(map(count_columns, text.splitlines())) <= 100
    pi = format_doctor(collect_report(boards.raspberry_pi("0x50005")))
    assert "supply voltage" in pi
    assert "core kinds" not in pi
    assert "temperature, core voltage, throttling (Raspberry Pi)" in pi
