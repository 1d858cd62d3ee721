"""Probes over machines and boards that are not here, and the host probe on this one."""

import os
import struct
import sys
from types import SimpleNamespace

import psutil
import pytest

from sdperf.measure.resources.apple import apple_rusage
from sdperf.measure.resources.apple.apple import (
    EnergyProbe,
    IoregProbe,
    StreamProbe,
    find_macmon,
    find_powermetrics,
    open_energy,
    open_ioreg,
    open_macmon,
    open_powermetrics,
)
from sdperf.measure.resources.apple.apple_parsers import ProcessReading, parse_macmon
from sdperf.measure.resources.apple.apple_rusage import read_process_usage
from sdperf.measure.resources.host import HostProbe, PsutilSource, SystemSample
from sdperf.measure.resources.inventory import PROBE_KINDS, list_probe_kinds, open_probes
from sdperf.measure.resources.nvidia import GpuUser, NvmlGpu, NvmlProbe, open_nvml
from sdperf.measure.resources.probe import Missing, ProcessSample, Reading
from sdperf.measure.system import LIVE_SYSTEM


class Script:
    """A clock, a source or a monitor that says the next thing each time."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self):
        return self.answers.pop(0)


def process(pid, cpu_s, *, rss=100, started_s=1.0, disk=None, footprint=None):
    return ProcessSample(pid, started_s, "python", cpu_s, rss, footprint, disk, disk)


def machine(busy_s, total_s, **known):
    return SystemSample(busy_s, total_s, 5000, **known)


def host(clock, systems, trees):
    return HostProbe(
        SimpleNamespace(read_system=Script(*systems), read_processes=Script(*trees)), Script(*clock)
    )


def test_processes_that_take_no_part_are_left_out():
    tree = (process(1, 5.0, rss=100, footprint=10), process(2, 7.0, rss=900))
    probe = host((0.0, 1.0), (machine(10, 100), machine(11, 102)), (tree, tree))
    assert probe.read().gauges["tree_rss_bytes"] == 1000
    probe.apart = frozenset({2})
    left = probe.read()
    assert left.gauges["tree_rss_bytes"] == 100
    assert left.gauges["tree_footprint_bytes"] == 10
    assert [one.pid for one in left.processes] == [1]


def test_the_tree_counts_what_came_and_keeps_what_went():
    probe = host(
        clock=(0.0, 1.0, 2.0),
        systems=(machine(10, 100), machine(11, 102), machine(13, 104)),
        trees=(
            (process(1, 50.0, disk=7), process(2, 5.0, disk=7)),
            (process(1, 50.5, disk=9), process(3, 0.25, disk=1)),
            (process(1, 51.0, disk=9), process(3, 0.25, disk=1, started_s=9.0)),
        ),
    )
    first, second, third = probe.read(), probe.read(), probe.read()
    assert first.counters == {
        "tree_cpu_s": 0.0,
        "tree_disk_read_bytes": 0.0,
        "tree_disk_written_bytes": 0.0,
    }
    assert "tree_cpu_percent" not in first.gauges
    assert second.counters["tree_cpu_s"] == 0.75
    assert second.counters["tree_disk_read_bytes"] == 3
    assert second.gauges["tree_cpu_percent"] == 75.0
    assert second.gauges["system_cpu_percent"] == 50.0
    assert second.gauges["tree_rss_bytes"] == 200
    assert third.counters["tree_cpu_s"] == 1.5


def test_shares_over_too_little_time_are_left_out_and_made_up_later():
    probe = host(
        clock=(0.0, 0.01, 1.0),
        systems=(machine(0, 0), machine(0, 0), machine(0, 0)),
        trees=((process(1, 1.0),), (process(1, 1.01),), (process(1, 1.5),)),
    )
    probe.read()
    assert "tree_cpu_percent" not in probe.read().gauges
    last = probe.read().gauges
    assert last["tree_cpu_percent"] == pytest.approx(50.0)
    assert "system_cpu_percent" not in last


def test_a_new_window_computes_its_shares_anew_and_goes_on_counting():
    probe = host(
        clock=(0.0, 100.0, 101.0),
        systems=(machine(0, 100), machine(0, 300), machine(1, 302)),
        trees=((process(1, 1.0),), (process(1, 2.0),), (process(1, 2.5),)),
    )
    probe.read()
    probe.begin()
    between = probe.read()
    assert "tree_cpu_percent" not in between.gauges
    assert between.counters["tree_cpu_s"] == 1.0
    assert probe.read().gauges["tree_cpu_percent"] == 50.0


def test_unknown_numbers_of_the_host_are_not_there():
    known = {"swap_used_bytes": 0, "swapped_in_bytes": 3, "disk_read_bytes": 0}
    probe = host((0.0,), (machine(1, 2, **known),), ((process(1, 1.0, footprint=9),),))
    reading = probe.read()
    assert reading.gauges["system_swap_used_bytes"] == 0
    assert reading.gauges["tree_footprint_bytes"] == 9
    assert reading.counters["system_swapped_in_bytes"] == 3
    assert reading.counters["system_disk_read_bytes"] == 0
    assert "system_swapped_out_bytes" not in reading.counters
    assert "tree_disk_read_bytes" not in reading.counters


def test_a_footprint_missing_for_one_process_is_unknown_for_the_tree():
    tree = (process(1, 1.0, footprint=9), process(2, 1.0))
    assert "tree_footprint_bytes" not in host((0.0,), (machine(1, 2),), (tree,)).read().gauges


def test_this_process_and_its_machine():
    source = PsutilSource()
    assert os.getpid() in source.read_pids()
    (mine,) = [one for one in source.read_processes() if one.pid == os.getpid()]
    assert mine.rss_bytes > 0
    assert mine.cpu_s > 0
    system = source.read_system()
    assert 0 < system.cpu_busy_s <= system.cpu_total_s
    assert system.available_bytes > 0


def test_processes_that_are_gone_or_hidden_are_left_out(monkeypatch):
    def hide(self, recursive):
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "children", hide)
    monkeypatch.setattr(psutil.Process, "name", lambda self: hide(self, True))
    assert PsutilSource().read_processes() == ()


def test_disk_counts_that_a_system_lacks_are_unknown(monkeypatch):
    def lacks(self):
        raise NotImplementedError

    monkeypatch.setattr(psutil.Process, "io_counters", lacks, raising=False)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    source = PsutilSource()
    assert source.read_processes()[0].disk_read_bytes is None
    assert source.read_system().disk_read_bytes is None


def test_swap_of_a_mac_is_psutils(make_mac, monkeypatch):
    swap = SimpleNamespace(used=5, sin=6, sout=7)
    monkeypatch.setattr(psutil, "swap_memory", lambda: swap)
    system = PsutilSource(system=make_mac()).read_system()
    assert (system.swap_used_bytes, system.swapped_in_bytes, system.swapped_out_bytes) == (5, 6, 7)


def test_programs_that_probes_start_are_not_watched(monkeypatch):
    monkeypatch.setattr(psutil.Process, "name", lambda self: "macmon")
    assert PsutilSource().read_processes() == ()


def test_rusage_is_asked_of_the_kernel(monkeypatch):
    class Library:
        def proc_pid_rusage(self, pid, flavour, buffer):
            if pid == 1:
                return -1
            buffer.raw = struct.pack("=16s35Q", b"", *range(35))
            return 0

    monkeypatch.setattr(apple_rusage, "_load_library", Library)
    assert read_process_usage(77) == ProcessReading(7, 16, 17)
    assert read_process_usage(1) is None


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS answers")
def test_rusage_is_macos_own():
    assert read_process_usage(os.getpid()) is None


class NvmlError(Exception):
    pass


class FakeNvml:
    """The parts of NVML a board answers; everything else is not supported."""

    NVMLError = NvmlError

    def __init__(self, **answers):
        self.answers = {"nvmlInit": None, "nvmlShutdown": None} | answers
        self.asked = []

    def __getattr__(self, name):
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def ask(*arguments):
            self.asked.append((name, arguments[-1:] if "Handle" in name else ()))
            answer = self.answers.get(name, NvmlError("Not Supported"))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


BOARD = {
    "nvmlDeviceGetHandleByIndex": "board",
    "nvmlDeviceGetHandleByUUID": "board",
    "nvmlDeviceGetName": "Example B900",
    "nvmlDeviceGetNumGpuCores": 16896,
    "nvmlDeviceGetCudaComputeCapability": (9, 0),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=41),
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=20 * 2**30),
    "nvmlDeviceGetPowerUsage": 512_000,
    "nvmlDeviceGetClockInfo": 1980,
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4,
    "nvmlDeviceGetTotalEnergyConsumption": 5_000_500,
    "nvmlDeviceGetComputeRunningProcesses": [
        SimpleNamespace(pid=7, usedGpuMemory=9 * 2**30),
        SimpleNamespace(pid=8, usedGpuMemory=None),
        SimpleNamespace(pid=9, usedGpuMemory=2**30),
    ],
}


def test_a_board_that_answers_everything():
    probe = NvmlProbe(NvmlGpu(FakeNvml(**BOARD), "board"), lambda: frozenset({7, 8}))
    assert probe.read() == Reading(
        gauges={
            "gpu_board_utilisation_percent": 97,
            "gpu_board_memory_busy_percent": 41,
            "gpu_board_memory_used_bytes": 20 * 2**30,
            "gpu_board_tree_memory_bytes": 9 * 2**30,
            "gpu_board_power_w": 512.0,
            "gpu_board_clock_mhz": 1980,
            "gpu_board_temperature_c": 61,
            "gpu_board_throttled_percent": 0.0,
            "gpu_board_power_capped_percent": 100.0,
        },
        counters={"gpu_board_energy_j": 5000.5},
    )


def test_a_board_that_answers_nothing():
    gpu = NvmlGpu(FakeNvml(), "board")
    assert NvmlProbe(gpu, lambda: frozenset({7})).read() == Reading()
    facts = (gpu.read_name(), gpu.read_multiprocessors(), gpu.read_users(), gpu.read_clock_events())
    assert facts == (None,) * 4


def test_a_library_of_another_version_is_no_answer():
    class Mismatch(Exception):
        pass

    nvml = FakeNvml(nvmlDeviceGetComputeRunningProcesses=Mismatch())
    nvml.NVMLLibraryMismatchError = Mismatch
    assert NvmlGpu(nvml, "board").read_users() is None


def test_facts_of_a_board():
    gpu = NvmlGpu(FakeNvml(**BOARD), "board")
    assert gpu.read_name() == "Example B900"
    assert gpu.read_multiprocessors() == 132
    assert gpu.read_users() == (GpuUser(7, 9 * 2**30), GpuUser(8, None), GpuUser(9, 2**30))
    old = BOARD | {"nvmlDeviceGetName": b"Old", "nvmlDeviceGetCudaComputeCapability": (8, 0)}
    gpu = NvmlGpu(
        FakeNvml(
            **old,
        ),
        "board",
    )
    assert (gpu.read_name(), gpu.read_multiprocessors()) == ("Old", 264)
    unknown = BOARD | {"nvmlDeviceGetCudaComputeCapability": (99, 0)}
    assert NvmlGpu(FakeNvml(**unknown), "board").read_multiprocessors() is None


@pytest.mark.parametrize(
    ("visible", "asked"),
    [
        (None, ("nvmlDeviceGetHandleByIndex", (0,))),
        ("2,0", ("nvmlDeviceGetHandleByIndex", (2,))),
        ("GPU-abc", ("nvmlDeviceGetHandleByUUID", ("GPU-abc",))),
    ],
)
def test_the_board_is_the_first_that_cuda_shows(visible, asked):
    nvml = FakeNvml(**BOARD)
    gpu = open_nvml(visible, lambda name: nvml)
    assert isinstance(gpu, NvmlGpu)
    gpu.close()
    assert [call[0] for call in nvml.asked] == ["nvmlInit", asked[0], "nvmlShutdown"]
    assert nvml.asked[1] == asked


def test_a_board_that_is_there_is_opened_as_a_probe(make_linux, monkeypatch):
    nvml = FakeNvml(**BOARD)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    probes = open_probes(make_linux())
    assert [probe.name for probe in probes] == ["psutil", "nvml"]
    for probe in probes:
        probe.begin()
        probe.close()
    assert nvml.asked[-1][0] == "nvmlShutdown"


def test_why_there_is_no_board():
    def uninstalled(name):
        raise ImportError(name)

    missing = open_nvml(None, uninstalled)
    assert isinstance(missing, Missing)
    assert missing.hint == "pip install 'sdperf[nvidia]'"
    for visible in ("", "-1"):
        hidden = open_nvml(visible, lambda name: FakeNvml(**BOARD))
        assert isinstance(hidden, Missing)
        assert "hides" in hidden.reason
    driver = open_nvml(None, lambda name: FakeNvml(nvmlInit=NvmlError("Driver Not Loaded")))
    assert isinstance(driver, Missing)
    assert "Driver Not Loaded" in driver.reason
    absent = FakeNvml()
    board = open_nvml("5", lambda name: absent)
    assert isinstance(board, Missing)
    assert absent.asked[-1][0] == "nvmlShutdown"


def test_ioreg_probe(make_mac):
    assert IoregProbe(make_mac()).read().gauges == {
        "gpu_soc_utilisation_percent": 3,
        "gpu_soc_memory_used_bytes": 900_000_000,
    }
    blind = make_mac({"/usr/sbin/ioreg -a -r -d 1 -w 0 -c IOAccelerator": ""})
    assert IoregProbe(blind).read() == Reading()
    assert isinstance(open_ioreg(blind), Missing)
    assert isinstance(open_ioreg(make_mac()), IoregProbe)


def energy(**known):
    names = ("gpu_mj", "cpu_total_mj", "dram_mj", "ane_mj")
    return SimpleNamespace(**(dict.fromkeys(names) | known))


def test_energy_is_joules_and_power_its_growth():
    monitor = SimpleNamespace(
        get_cumulative_energy=Script(
            energy(gpu_mj=1000, cpu_total_mj=500, ane_mj=0),
            energy(gpu_mj=1100),
            energy(gpu_mj=6000),
            energy(gpu_mj=10),
            energy(),
        )
    )
    probe = EnergyProbe(monitor, Script(0.0, 0.05, 0.5, 1.5, 2.5))
    first = probe.read()
    assert first.counters == {
        "gpu_soc_energy_j": 1.0,
        "cpu_soc_energy_j": 0.5,
        "ane_soc_energy_j": 0.0,
    }
    assert first.gauges == {}
    assert probe.read().gauges == {}
    assert probe.read().gauges == {"gpu_soc_power_w": 10.0}
    assert probe.read().gauges == {}
    assert probe.read() == Reading()


def test_power_of_a_new_window_knows_nothing_of_the_last():
    monitor = SimpleNamespace(
        get_cumulative_energy=Script(*(energy(gpu_mj=mj) for mj in (0, 9000, 9500)))
    )
    probe = EnergyProbe(monitor, Script(0.0, 60.0, 61.0))
    probe.read()
    probe.begin()
    assert probe.read().gauges == {}
    assert probe.read().gauges == {"gpu_soc_power_w": 0.5}


@pytest.mark.parametrize(
    ("chip", "version", "counted"),
    [
        ("Apple M9 Ultra", "1.1.0", False),
        ("Apple M9 Ultra", None, False),
        ("Apple M9 Ultra", "1.1.1", True),
        ("Apple M9 Max", "1.1.0", True),
    ],
)
def test_processor_energy_of_two_dies_is_unknown_where_one_is_read(
    make_mac, chip, version, counted
):
    system = make_mac(
        {"/usr/sbin/sysctl -i": f"machdep.cpu.brand_string: {chip}\n"},
        packages={} if version is None else {"zeus-apple-silicon": version},
    )
    metrics = energy(gpu_mj=1000, cpu_total_mj=500, dram_mj=250)
    monitor = SimpleNamespace(get_cumulative_energy=lambda: metrics)
    package = SimpleNamespace(AppleEnergyMonitor=lambda: monitor)
    counters = open_energy(system, lambda _: package).read().counters
    assert ("cpu_soc_energy_j" in counters) is counted
    assert {"gpu_soc_energy_j", "dram_soc_energy_j"} <= counters.keys()


def test_why_there_is_no_energy(make_mac):
    def uninstalled(name):
        raise ImportError(name)

    def refuse():
        raise RuntimeError("subscription failed")

    missing = open_energy(make_mac(), uninstalled)
    assert isinstance(missing, Missing)
    assert missing.hint == "pip install 'sdperf[apple]'"
    refused = open_energy(make_mac(), lambda name: SimpleNamespace(AppleEnergyMonitor=refuse))
    assert isinstance(refused, Missing)
    assert "subscription failed" in refused.reason
    opened = open_energy(make_mac(), lambda name: SimpleNamespace(AppleEnergyMonitor=object))
    assert isinstance(opened, EnergyProbe)


class FakeStream:
    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.stopped = False

    def read_new(self):
        return self.pieces.pop(0) if self.pieces else ""

    def stop(self):
        self.stopped = True


def test_a_stream_reports_each_finished_sample_once():
    line = '{"gpu_power": 5.0, "gpu_active_ratio": 0.5}\n'
    stream = FakeStream(line[:10], line[10:], "", line + line.replace("5.0", "7.0") + line[:20])
    probe = StreamProbe("macmon", stream, "\n", parse_macmon)
    assert probe.read() == Reading()
    assert probe.read().gauges == {"gpu_soc_power_w": 5.0, "gpu_soc_utilisation_percent": 50.0}
    assert probe.read() == Reading()
    assert probe.read().gauges["gpu_soc_power_w"] == 7.0
    probe.close()
    assert stream.stopped


def test_a_stream_forgets_what_came_before_the_window():
    line = '{"gpu_power": 5.0}\n'
    probe = StreamProbe("macmon", FakeStream(line, line.replace("5", "6")), "\n", parse_macmon)
    probe.begin()
    assert probe.read().gauges == {"gpu_soc_power_w": 6.0}


MACMON = {"programs": {"macmon": "/opt/homebrew/bin/macmon"}}
MACMON_SAYS = {"/opt/homebrew/bin/macmon pipe": '{"gpu_power": 1.0}\n'}
SUDO_SAYS = {"/usr/bin/sudo -n -l /usr/bin/powermetrics": "/usr/bin/powermetrics\n"}


def test_programs_are_found_or_it_is_said_how_to_get_them(make_mac):
    assert find_macmon(make_mac(MACMON_SAYS, **MACMON)) == "/opt/homebrew/bin/macmon"
    missing = find_macmon(make_mac())
    assert isinstance(missing, Missing)
    assert missing.hint == "brew install macmon"
    assert isinstance(find_macmon(make_mac(**MACMON)), Missing)
    assert isinstance(open_macmon(make_mac()), Missing)
    assert find_powermetrics(make_mac(SUDO_SAYS)) == "/usr/bin/powermetrics"
    assert isinstance(find_powermetrics(make_mac()), Missing)
    assert isinstance(open_powermetrics(make_mac()), Missing)


def test_programs_are_started(make_mac):
    mac = make_mac({**MACMON_SAYS, **SUDO_SAYS}, **MACMON)
    assert isinstance(open_macmon(mac), Missing)
    assert isinstance(open_powermetrics(mac), Missing)
    mac.streams = FakeStream(), FakeStream()
    for opened, name in ((open_macmon(mac), "macmon"), (open_powermetrics(mac), "powermetrics")):
        assert isinstance(opened, StreamProbe)
        assert opened.name == name
    assert mac.ran[-1].startswith("/usr/bin/sudo -n /usr/bin/powermetrics -f plist")


def test_powermetrics_is_only_opened_without_macmon(make_mac):
    both = make_mac({**MACMON_SAYS, **SUDO_SAYS}, **MACMON)
    both.streams = FakeStream(), FakeStream()
    names = [probe.name for probe in open_probes(both)]
    assert names == ["psutil", "ioreg", "macmon"]
    root = make_mac(SUDO_SAYS)
    root.streams = (FakeStream(),)
    assert [probe.name for probe in open_probes(root)] == ["psutil", "ioreg", "powermetrics"]


def test_kinds_of_probes_by_platform(make_linux, make_mac):
    assert [kind.name for kind in list_probe_kinds(make_linux())] == ["psutil", "nvml", "sysfs"]
    assert {"nvml", "vcgencmd", "sysfs"} == {kind.name for kind in PROBE_KINDS} - {
        kind.name for kind in list_probe_kinds(make_mac())
    }
    hidden = make_linux(environ={"CUDA_VISIBLE_DEVICES": ""})
    assert [probe.name for probe in open_probes(hidden)] == ["psutil"]
    nvml = list_probe_kinds(hidden)[1]
    assert isinstance(nvml.find(hidden), Missing)


def test_a_live_stream_is_read_piece_by_piece_and_ended():
    code = "import sys; print('one', flush=True); sys.stdin.read(); import time; time.sleep(600)"
    stream = LIVE_SYSTEM.start(sys.executable, "-c", code)
    assert stream is not None
    text = ""
    while "one\n" not in text:
        text += stream.read_new()
    assert stream.read_new() == ""
    stream.stop()
    assert LIVE_SYSTEM.start("/no/such/program") is None
    with pytest.raises(ValueError, match="absolute"):
        LIVE_SYSTEM.start("program")
