"""Fit to measure, or not: each guard in each state, and what makes a round invalid."""

from dataclasses import replace

import pytest

from sdperf.measure.fitness.conditions import Conditions, read_conditions
from sdperf.measure.fitness.guard_changes import compare_guards
from sdperf.measure.fitness.guards import judge_guards
from sdperf.measure.resources.linux.cgroup import CgroupLimits
from sdperf.measure.resources.linux.linux_parsers import CpuTimes
from sdperf.measure.resources.nvidia import GpuUser
from sdperf.record.guard import GUARD_NAMES, Guard
from sdperf.record.json import format_record, parse_record

MAC = Conditions(
    platform="darwin",
    device_kind="mps",
    thermal_level="nominal",
    power_source="ac",
    power_mode="normal",
    memory_pressure="normal",
    swap_used_bytes=0,
    swapped_in_bytes=0,
    swapped_out_bytes=0,
    load_per_core=0.1,
    background={},
    backup_running=False,
    virtual_machine=False,
    translated=False,
    gpu_busy_percent=2.0,
    gpu_wired_limit_bytes=0,
    niceness=0,
    is_background=False,
)
SERVER = Conditions(
    platform="linux",
    device_kind="cuda",
    power_source="ac",
    has_battery=False,
    available_share=0.9,
    swap_used_bytes=0,
    swapped_in_bytes=0,
    swapped_out_bytes=0,
    load_per_core=0.1,
    virtual_machine=False,
    gpu_busy_percent=0.0,
    gpu_users=(),
    clock_events=0x1,
    cpu_times=CpuTimes(1_000_000, 10),
    governor="performance",
    throttle_count=0,
    niceness=0,
)


def states(conditions, **options):
    return {guard.name: guard.state for guard in judge_guards(conditions, **options)}


def test_healthy_machines_are_ok():
    assert set(states(MAC).values()) == {"ok"}
    assert set(states(SERVER).values()) == {"ok"}


@pytest.mark.parametrize("platform", ["darwin", "linux"])
@pytest.mark.parametrize("device_kind", ["cpu", "cuda", "mps"])
def test_what_cannot_be_read_is_never_ok(platform, device_kind):
    known = {"environment variables", "container limits"}
    found = states(Conditions(platform=platform, device_kind=device_kind))
    assert {state for name, state in found.items() if name not in known} == {"unknown"}


@pytest.mark.parametrize("platform", ["darwin", "linux"])
@pytest.mark.parametrize("device_kind", ["cpu", "cuda", "mps"])
def test_what_cannot_be_read_says_what_would_make_it_known(platform, device_kind):
    for guard in judge_guards(Conditions(platform=platform, device_kind=device_kind)):
        assert guard.name in GUARD_NAMES
        assert guard.state != "unknown" or guard.hint


def test_what_means_nothing_here_is_left_out():
    assert "steal" not in states(SERVER)
    assert "other GPU users" not in states(replace(SERVER, device_kind="cpu"))
    assert "clock governor" not in states(MAC)


@pytest.mark.parametrize(
    ("machine", "change", "name", "state"),
    [
        (MAC, {"thermal_level": "moderate"}, "thermal level", "warn"),
        (MAC, {"thermal_level": "heavy"}, "thermal level", "fail"),
        (MAC, {"thermal_level": "sleeping"}, "thermal level", "fail"),
        (MAC, {"power_source": "battery"}, "power source", "fail"),
        (MAC, {"power_mode": "low"}, "power mode", "fail"),
        (MAC, {"power_mode": "high"}, "power mode", "ok"),
        (MAC, {"memory_pressure": "warn"}, "memory pressure", "warn"),
        (MAC, {"memory_pressure": "critical"}, "memory pressure", "fail"),
        (MAC, {"load_per_core": 0.7}, "load", "warn"),
        (MAC, {"load_per_core": 2.0}, "load", "fail"),
        (MAC, {"background": {"mds_stores": 85.0}}, "background work", "warn"),
        (MAC, {"background": {"mds_stores": 5.0}}, "background work", "ok"),
        (MAC, {"backup_running": True}, "background work", "warn"),
        (MAC, {"virtual_machine": True}, "virtual machine", "fail"),
        (MAC, {"virtual_machine": True, "device_kind": "cpu"}, "virtual machine", "warn"),
        (MAC, {"translated": True}, "Rosetta", "fail"),
        (MAC, {"gpu_busy_percent": 15.0}, "other GPU users", "warn"),
        (MAC, {"gpu_busy_percent": 60.0}, "other GPU users", "fail"),
        (MAC, {"niceness": 10}, "priority", "warn"),
        (MAC, {"is_background": True}, "priority", "fail"),
        (MAC, {"is_background": None}, "priority", "unknown"),
        (MAC, {"gpu_wired_limit_bytes": 2**34}, "GPU memory limit", "warn"),
        (MAC, {"gpu_wired_limit_bytes": None}, "GPU memory limit", "unknown"),
        (SERVER, {"power_source": None, "has_battery": None}, "power source", "unknown"),
        (SERVER, {"power_source": None}, "power source", "ok"),
        (SERVER, {"governor": "powersave"}, "clock governor", "warn"),
        (SERVER, {"niceness": 5}, "priority", "warn"),
        (SERVER, {"niceness": -5}, "priority", "ok"),
        (SERVER, {"niceness": None}, "priority", "unknown"),
        (SERVER, {"available_share": 0.05}, "available memory", "warn"),
        (SERVER, {"available_share": 0.01}, "available memory", "fail"),
        (SERVER, {"virtual_machine": True}, "virtual machine", "ok"),
        (SERVER, {"limits": CgroupLimits(cpus=1.5)}, "container limits", "warn"),
        (SERVER, {"virtual_machine": True, "cpu_times": CpuTimes(100, 9)}, "steal", "warn"),
        (SERVER, {"virtual_machine": True, "cpu_times": CpuTimes(0, 0)}, "steal", "ok"),
        (SERVER, {"virtual_machine": None, "cpu_times": None}, "steal", "unknown"),
        (SERVER, {"gpu_users": (GpuUser(7, None),)}, "other GPU users", "warn"),
        (SERVER, {"clock_events": 0x4}, "GPU clocks", "warn"),
        (SERVER, {"clock_events": 0x24}, "GPU clocks", "fail"),
        (SERVER, {"clock_events": None}, "GPU clocks", "unknown"),
    ],
)
def test_each_guard_in_each_state(machine, change, name, state):
    changed = states(replace(machine, **change))
    assert changed[name] == state


def test_guards_go_into_a_record_and_back():
    for guard in judge_guards(replace(MAC, power_source="battery", thermal_level=None)):
        assert parse_record(Guard, format_record(guard)) == guard


def test_own_processes_on_the_gpu_are_no_others():
    mine = replace(SERVER, gpu_users=(GpuUser(7, None),))
    assert states(mine, own_pids=frozenset({7}))["other GPU users"] == "ok"


def test_variables_that_distort_are_named_with_what_they_do():
    variables = {"PYTORCH_ENABLE_MPS_FALLBACK": "1", "OMP_NUM_THREADS": "4"}
    (guard,) = [
        guard
        for guard in judge_guards(replace(MAC, variables=variables))
        if guard.name == "environment variables"
    ]
    assert (guard.state, guard.value) == ("warn", "PYTORCH_ENABLE_MPS_FALLBACK")
    assert guard.hint == "unset PYTORCH_ENABLE_MPS_FALLBACK"
    worse = variables | {"CUDA_LAUNCH_BLOCKING": "1"}
    assert states(replace(MAC, variables=worse))["environment variables"] == "fail"
    off = {"CUDA_LAUNCH_BLOCKING": "0", "PYTORCH_ENABLE_MPS_FALLBACK": ""}
    assert states(replace(MAC, variables=off))["environment variables"] == "ok"


@pytest.mark.parametrize(
    ("variables", "state", "words"),
    [
        ({"HIGH": "1.0", "LOW": "0.8"}, "warn", "watermarks 1 and 0.8"),
        ({"HIGH": "0.0"}, "fail", "none"),
        ({"HIGH": "0.7"}, "fail", "LOW_WATERMARK_RATIO 1.4, PYTORCH_MPS_HIGH_WATERMARK_RATIO 0.7"),
        ({"HIGH": "most"}, "fail", "most"),
    ],
)
def test_watermarks_are_part_of_the_condition(variables, state, words):
    named = {f"PYTORCH_MPS_{name}_WATERMARK_RATIO": value for name, value in variables.items()}
    guard = {each.name: each for each in judge_guards(replace(MAC, variables=named))}[
        "GPU memory limit"
    ]
    assert (guard.state, words in guard.value) == (state, True)
    assert guard.hint


def test_gpu_guards_belong_to_gpus():
    names = states(replace(SERVER, device_kind="cpu"))
    assert "other GPU users" not in names
    assert "GPU clocks" not in names
    assert "GPU memory limit" not in states(SERVER)
    assert "GPU clocks" not in states(MAC)


@pytest.mark.parametrize("machine", [MAC, SERVER])
def test_a_machine_that_did_not_change_makes_no_round_invalid(machine):
    assert compare_guards(machine, machine) == ()
    unread = Conditions(platform=machine.platform, device_kind=machine.device_kind)
    assert compare_guards(unread, machine) == compare_guards(machine, unread) == ()


@pytest.mark.parametrize(
    ("machine", "change", "state", "reason"),
    [
        (MAC, {"thermal_level": "heavy"}, "fail", "the thermal level rose from nominal to heavy"),
        (MAC, {"power_source": "battery"}, "fail", "the power source changed from ac to battery"),
        (MAC, {"power_mode": "low"}, "fail", "the power mode changed from normal to low"),
        (MAC, {"memory_pressure": "warn"}, "fail", "memory pressure rose from normal to warn"),
        (MAC, {"swapped_out_bytes": 4096}, "fail", "4.00 KiB were swapped out"),
        (MAC, {"swapped_in_bytes": 4096}, "warn", "4.00 KiB were swapped in"),
        (SERVER, {"governor": "powersave"}, "fail", "the clock governor changed"),
        (SERVER, {"throttle_count": 3}, "fail", "slowed down for heat 3 times"),
        (SERVER, {"cpu_times": CpuTimes(1_001_000, 110)}, "fail", "took 10.0 % of the time"),
        (SERVER, {"cpu_times": CpuTimes(1_001_000, 40)}, "warn", "took 3.0 % of the time"),
        (SERVER, {"clock_events": 0x40}, "fail", "slowed down for heat or power supply"),
    ],
)
def test_what_changed_during_a_round(machine, change, state, reason):
    (guard,) = compare_guards(machine, replace(machine, **change))
    assert guard.state == state
    assert reason in guard.sentence


def test_what_got_better_is_no_reason():
    hot = replace(MAC, thermal_level="heavy", memory_pressure="critical")
    (guard,) = compare_guards(hot, MAC)
    assert (guard.state, guard.sentence) == ("warn", "the thermal level fell from heavy to nominal")


def test_a_container_that_was_stopped_is_said():
    limited = replace(SERVER, limits=CgroupLimits(cpus=2.0, throttled_periods=5))
    after = replace(SERVER, limits=CgroupLimits(cpus=2.0, throttled_periods=9))
    (guard,) = compare_guards(limited, after)
    assert (guard.state, guard.value) == ("warn", "4 periods")


MAC_COMMANDS = {
    "/usr/sbin/sysctl -i": (
        "kern.hv_vmm_present: 0\n"
        "kern.memorystatus_vm_pressure_level: 2\n"
        "hw.logicalcpu: 10\n"
        "iogpu.wired_limit_mb: 1024\n"
        "vm.loadavg: { 2.50 1.00 0.50 }\n"
        "vm.swapusage: total = 2.00M  used = 1.00M  free = 1.00M\n"
    ),
    "/usr/bin/vm_stat": "(page size of 16384 bytes)\nSwapins: 1.\nSwapouts: 2.\n",
    "/bin/ps -Aceo pcpu,comm": "%CPU COMM\n 50.0 mdworker_shared\n 99.0 Example\n",
    "/usr/bin/tmutil status": "{\n    Running = 1;\n}\n",
}


def test_a_mac_is_read(make_mac):
    found = read_conditions("mps", system=make_mac(MAC_COMMANDS))
    assert found == Conditions(
        platform="darwin",
        device_kind="mps",
        thermal_level="nominal",
        power_source="ac",
        power_mode="high",
        memory_pressure="warn",
        swap_used_bytes=2**20,
        swapped_in_bytes=16384,
        swapped_out_bytes=32768,
        load_per_core=0.25,
        background={"mdworker_shared": 50.0},
        backup_running=True,
        virtual_machine=False,
        translated=False,
        gpu_busy_percent=3.0,
        gpu_wired_limit_bytes=2**30,
        niceness=0,
        is_background=False,
    )


def test_between_rounds_a_mac_is_asked_less(make_mac):
    mac = make_mac(MAC_COMMANDS)
    found = read_conditions("mps", system=mac, thorough=False)
    assert (found.background, found.backup_running, found.gpu_busy_percent) == (None,) * 3
    assert not any(line.startswith(("/bin/ps", "/usr/bin/tmutil")) for line in mac.ran)


@pytest.mark.parametrize(
    ("machine", "switch", "translated"),
    [
        ("arm64", "", False),
        ("x86_64", "sysctl.proc_translated: 1\n", True),
        ("x86_64", "hw.logicalcpu: 8\n", False),
        ("x86_64", "", None),
    ],
)
def test_rosetta(make_system, machine, switch, translated):
    mac = make_system(platform="darwin", machine=machine, commands={"/usr/sbin/sysctl -i": switch})
    assert read_conditions("cpu", system=mac).translated is translated


def test_a_linux_machine_is_read(make_linux):
    files = {
        "/proc/loadavg": "1.00 0.50 0.25 1/99 1234\n",
        "/proc/stat": "cpu  100 0 0 890 0 0 0 10 0 0\n",
        "/proc/vmstat": "pswpin 0\npswpout 0\n",
        "/sys/devices/system/cpu/online": "0-3\n",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
        "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2\n",
        "/sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "3\n",
        "/sys/class/net/lo": "",
    }
    found = read_conditions("cpu", system=make_linux(files))
    assert (found.load_per_core, found.available_share) == (0.25, 0.5)
    assert (found.governor, found.throttle_count) == ("schedutil", 5)
    assert found.cpu_times == CpuTimes(1000, 10, found.cpu_times.idle)
    assert (found.has_battery, found.virtual_machine) == (False, False)
    assert (found.swapped_out_bytes, found.gpu_users) == (0, None)


@pytest.mark.parametrize(
    ("files", "virtual"),
    [
        ({"/proc/cpuinfo": "flags : fpu hypervisor\n"}, True),
        ({"/proc/cpuinfo": "Features : fp\n", "/proc/device-tree/model": "Raspberry Pi 5"}, False),
        ({"/proc/cpuinfo": "Features : fp\n", "/proc/device-tree/model": "linux,dummy-virt"}, True),
        ({"/proc/cpuinfo": "Features : fp\n", "/sys/class/dmi/id/sys_vendor": "Amazon EC2"}, True),
        ({"/proc/cpuinfo": "Features : fp\n"}, None),
        ({"/proc/cpuinfo": None}, None),
    ],
)
def test_virtual_machines_on_linux(make_linux, files, virtual):
    assert read_conditions("cpu", system=make_linux(files)).virtual_machine is virtual


def test_this_machine_is_judged():
    assert {guard.state for guard in judge_guards(read_conditions("cpu"))} <= {
        *("ok", "warn", "fail", "unknown")
    }
