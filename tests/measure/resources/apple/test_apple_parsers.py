"""What macOS' programs print: documented shapes, cut-off ones, hostile ones, and any bytes."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.measure.resources.apple import apple_parsers as apple
from sdperf.measure.resources.apple.apple_parsers import (
    RUSAGE_V4,
    GpuReading,
    PowerReading,
    ProcessReading,
    SwapTraffic,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"

TEXT_PARSERS = {
    "sysctl": apple.parse_sysctl,
    "notifyutil": apple.parse_thermal_level,
    "pmset-batt": apple.parse_power_source,
    "pmset-g": apple.parse_power_mode,
    "ioreg": apple.parse_ioreg_accelerators,
    "system_profiler-SPDisplays": apple.parse_displays,
    "swapusage": apple.parse_swap_used,
    "vm_stat": apple.parse_vm_stat,
    "footprint": apple.parse_footprint,
    "macmon": apple.parse_macmon,
    "powermetrics-plist": apple.parse_powermetrics,
    "tmutil": apple.parse_time_machine,
    "ps": apple.parse_process_cpu,
}


def fixture(name):
    return (FIXTURES / name).read_text()


def test_sysctl():
    text = "hw.memsize: 34359738368\nmachdep.cpu.brand_string: Apple M9\nhw.perflevel0.name: A: b\n"
    assert apple.parse_sysctl(text + "sysctl: unknown oid 'x.y'\nhw.cut") == {
        "hw.memsize": "34359738368",
        "machdep.cpu.brand_string": "Apple M9",
        "hw.perflevel0.name": "A: b",
    } | {"sysctl": "unknown oid 'x.y'"}


@pytest.mark.parametrize("level", range(5))
def test_thermal_levels(level):
    text = f"com.apple.system.thermalpressurelevel {level}\n"
    assert apple.parse_thermal_level(text) == apple.THERMAL_LEVELS[level]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "com.apple.system.thermalpressurelevel: Failed with code 9\n",
        "com.apple.system.thermalpressurelevel 5\n",
        "com.apple.system.thermalpressurelevel -1\n",
        "com.apple.system.thermalpressurelevel",
        "com.apple.system.thermalpressurelevel 99999999999999999999999\n",
    ],
)
def test_a_level_that_is_none_is_unknown(text):
    assert apple.parse_thermal_level(text) is None


def test_power_source():
    assert apple.parse_power_source("Now drawing from 'AC Power'\n") == "ac"
    laptop = "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=9)\t27%; discharging;\n"
    assert apple.parse_power_source(laptop) == "battery"
    assert apple.parse_power_source("Now drawing from 'UPS Power'\n") == "battery"
    assert apple.parse_power_source(" -InternalBattery-0 'AC Power'\n") is None


def test_power_mode():
    assert apple.parse_power_mode(fixture("pmset_high.txt")) == "high"
    assert apple.parse_power_mode("Currently in use:\n lowpowermode         0\n") == "normal"
    assert apple.parse_power_mode("Currently in use:\n lowpowermode         1\n") == "low"
    assert apple.parse_power_mode("Currently in use:\n powermode 1\n") == "low"
    assert apple.parse_power_mode("Currently in use:\n powermode 7\n") is None
    assert apple.parse_power_mode("Currently in use:\n sleep 1\n") is None
    custom = fixture("pmset_custom.txt")
    assert apple.parse_power_mode(custom, "ac") == "normal"
    assert apple.parse_power_mode(custom, "battery") == "low"
    assert apple.parse_power_mode(custom) is None


def test_ioreg_takes_the_busiest_and_drops_what_cannot_be():
    assert apple.parse_ioreg_accelerators(fixture("ioreg_two_gpus.xml")) == GpuReading(
        name="Apple M9 Pro",
        cores=24,
        utilisation_percent=41.0,
        in_use_bytes=1234567890,
    )


def test_ioreg_without_statistics_is_a_reading_without_numbers():
    entry = "<dict><key>model</key><integer>1</integer></dict>"
    text = f"<plist version='1.0'><array>{entry}</array></plist>"
    assert apple.parse_ioreg_accelerators(text) == GpuReading()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<plist version='1.0'><array></array></plist>",
        "<plist version='1.0'><dict></dict></plist>",
        "<plist version='1.0'><array><string>x</string></array></plist>",
        '+-o AGXAcceleratorG99X\n    {\n      "gpu-core-count" = 10\n    }\n',
    ],
)
def test_no_accelerator_is_no_reading(text):
    assert apple.parse_ioreg_accelerators(text) is None


def test_every_cut_of_a_property_list_is_survived():
    whole = fixture("ioreg_two_gpus.xml")
    for end in range(0, len(whole) - 10, 37):
        assert apple.parse_ioreg_accelerators(whole[:end]) is None


@pytest.mark.parametrize(
    "inner",
    [
        "<integer>notanumber</integer>",
        "<integer></integer>",
        "<date>2031-99-99T00:00:00Z</date>",
        "<data>%%%</data>",
        "<key>a</key><key>b</key>",
        "<dict><integer>1</integer></dict>",
        "<integer>" + "9" * 5000 + "</integer>",
        "</array>",
        "<unknown/>",
        "<array>" * 3000,
    ],
)
def test_hostile_property_lists(inner):
    text = f"<plist version='1.0'><array>{inner}</array></plist>"
    assert apple.parse_ioreg_accelerators(text) is None
    assert apple.parse_powermetrics(text) == ()


def test_entities_are_refused():
    text = '<!DOCTYPE x [<!ENTITY a "aaaa">]><plist version="1.0"><array><dict/></array></plist>'
    assert apple.parse_ioreg_accelerators(text) is None


def test_displays():
    assert apple.parse_displays(fixture("displays.json")) == GpuReading(
        name="Apple M9 Pro", cores=24
    )
    assert apple.parse_displays('{"SPDisplaysDataType": [{"sppci_model": "GPU"}]}') == GpuReading(
        name="GPU"
    )
    hostile = ["[1]", "{}", '{"SPDisplaysDataType": [1, null]}', "[" * 100_000, "nul"]
    assert [apple.parse_displays(text) for text in hostile] == [None] * len(hostile)


def test_swap_usage():
    value = "total = 4096.00M  used = 3017.25M  free = 1078.75M  (encrypted)"
    assert apple.parse_swap_used(value) == 12069 * 2**18
    assert apple.parse_swap_used("total = 0.00M  used = 0.00M  free = 0.00M") == 0
    assert apple.parse_swap_used("total = 4096.00M  used = ") is None
    assert apple.parse_swap_used(None) is None


def test_vm_stat_counts_pages_of_its_own_size():
    text = fixture("vm_stat.txt")
    assert apple.parse_vm_stat(text) == SwapTraffic(10 * 16384, 20 * 16384)
    assert apple.parse_vm_stat(text.replace("16384", "4096")) == SwapTraffic(40960, 81920)
    newer = text.replace("Swapins", "Pages tagged:     12.\nSwapins")
    assert apple.parse_vm_stat(newer) == apple.parse_vm_stat(text)
    assert apple.parse_vm_stat(text[: text.index("Swapouts")]) is None
    assert apple.parse_vm_stat(text.replace("page size", "size")) is None


def test_footprint():
    text = fixture("footprint.txt")
    assert apple.parse_footprint(text) == 3_000_000_000
    assert apple.parse_footprint(text[: text.index("phys_")]) is None
    assert apple.parse_footprint("footprint: 5 B\n") is None


def test_rusage():
    fields = dict.fromkeys(range(35), 0) | {7: 700, 16: 1600, 17: 1700}
    raw = struct.pack("=16s35Q", b"u" * 16, *fields.values())
    assert len(raw) == RUSAGE_V4.size == 296
    assert apple.parse_rusage(raw) == ProcessReading(700, 1600, 1700)
    assert apple.parse_rusage(raw + b"newer fields") == ProcessReading(700, 1600, 1700)
    assert apple.parse_rusage(raw[:-1]) is None


def test_macmon_of_two_versions():
    whole, idle = apple.parse_macmon(fixture("macmon_0_8.ndjson").rstrip("\n"))
    assert whole == PowerReading(
        gpu_power_w=12.5,
        cpu_power_w=2.25,
        system_power_w=31.0,
        gpu_active_percent=50.0,
        gpu_clock_mhz=1400.0,
        gpu_temperature_c=55.5,
    )
    assert idle == PowerReading(gpu_power_w=0.0, gpu_active_percent=0.0)
    (older,) = apple.parse_macmon(fixture("macmon_0_7.ndjson"))
    assert (older.gpu_clock_mhz, older.gpu_active_percent) == (1278.0, 25.0)


def test_macmon_of_strange_values():
    line = (
        '{"gpu_power": NaN, "gpu_active_ratio": 7, "sys_power": "40", "temp": [], "gpu_usage": 3}'
    )
    assert apple.parse_macmon(line + "\n") == (PowerReading(),)
    assert apple.parse_macmon("[]\n1\n\n{}\n") == ()
    assert apple.parse_macmon('{"gpu_power": 1' + "0" * 400 + "}\n") == (PowerReading(),)


def test_powermetrics_streams_samples_with_a_nul_between():
    sample = fixture("powermetrics_sample.xml")
    reading = PowerReading(
        gpu_power_w=30.0,
        cpu_power_w=0.4,
        gpu_active_percent=75.0,
        gpu_clock_mhz=1234.5,
        gpu_top_clock_percent=pytest.approx(60.0),
    )
    assert apple.parse_powermetrics(sample) == (reading,)
    assert apple.parse_powermetrics(f"{sample}\0{sample}") == (reading, reading)
    assert apple.parse_powermetrics(f"{sample}\0{sample[:500]}") == (reading,)
    assert apple.parse_powermetrics(f"\0{sample}\0") == (reading,)
    assert apple.parse_powermetrics("powermetrics must be invoked as the superuser\n") == ()


def test_powermetrics_without_a_gpu():
    text = "<plist version='1.0'><dict><key>gpu</key><array/><key>a</key><true/></dict></plist>"
    assert apple.parse_powermetrics(text) == (PowerReading(),)


def test_time_machine():
    assert apple.parse_time_machine(fixture("tmutil_copying.txt")) is True
    assert apple.parse_time_machine("{\n    Running = 0;\n}\n") is False
    assert apple.parse_time_machine("{\n    NotRunning = 1;\n") is None


def test_processes_are_summed_by_name():
    assert apple.parse_process_cpu(fixture("ps.txt")) == {
        "mds_stores": 85.5,
        "WindowServer": 3.0,
        "mdworker_shared": 2.0,
        "Example Helper (Renderer)": 0.0,
    }


@pytest.mark.parametrize("parse", TEXT_PARSERS.values(), ids=TEXT_PARSERS)
@given(raw=st.binary(max_size=400))
def test_no_bytes_make_a_parser_raise(parse, raw):
    parse(raw.decode(errors="replace"))


@given(raw=st.binary(max_size=400))
def test_no_bytes_make_the_rusage_parser_raise(raw):
    apple.parse_rusage(raw)


NAMES = sorted(path.name for path in FIXTURES.iterdir())


@pytest.mark.parametrize("parse", TEXT_PARSERS.values(), ids=TEXT_PARSERS)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_no_damage_to_real_shapes_makes_a_parser_raise(parse, name, data):
    text = fixture(name)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    parse(text[:start] + data.draw(st.text(max_size=20)) + text[end:])


def test_recorded_outputs_of_real_macs():
    """Run every parser over a folder of recordings; what a file is named for must be read."""
    folder = os.environ.get("SDPERF_APPLE_SAMPLES")
    if not folder:
        pytest.skip("SDPERF_APPLE_SAMPLES names no folder of recorded macOS outputs")
    empty = (None, (), {})
    expected = ("no-match", "failed", "custom", "SPHardware", "-text.", "therm.")
    read = 0
    for path in sorted(Path(folder).iterdir()):
        text = path.read_bytes().decode(errors="replace")
        for name, parse in TEXT_PARSERS.items():
            reading = parse(text)
            if path.name.startswith(name) and not any(word in path.name for word in expected):
                assert reading not in empty, f"{name} reads nothing in {path.name}"
                read += 1
    assert read >= 10, "the folder holds hardly anything the parsers are for"
