"""What a record says about its machine, on machines made of dictionaries and on this one."""

import subprocess
import sys

import pytest

from sdperf import __version__
from sdperf.measure.environment import (
    collect_environment,
    count_performance_cores,
    read_apple_gpu,
    read_commit,
    read_nvidia_driver,
    read_power_mode,
    read_power_source,
    read_result_variables,
)
from sdperf.measure.system import LIVE_SYSTEM
from sdperf.record.environment import Environment
from sdperf.record.json import format_record, parse_record


def collected(system, **overrides):
    asked = {"device_kind": "cpu", "device_name": "", "system": system} | overrides
    return collect_environment(**asked)


def test_a_mac_is_described_whole(make_mac):
    mac = make_mac(packages={"torch": "2.13.0"}, environ={"PYTORCH_ENABLE_MPS_FALLBACK": "1"})
    found = collected(mac, device_kind="mps", device_name="Apple GPU")
    assert found.chip == found.device_name == "Apple M9 Max"
    assert (found.os_name, found.os_version, found.os_build) == ("macOS", "31.4.1", "31E77")
    assert (found.gpu_cores, found.ram_bytes) == (37, 64 * 2**30)
    assert (found.cpu_cores, found.performance_cores) == (14, 10)
    assert (found.power_source, found.power_mode) == ("ac", "high")
    assert found.thermal_level == "nominal"
    assert found.packages == {"torch": "2.13.0", "sdperf": __version__}
    assert found.variables == {"PYTORCH_ENABLE_MPS_FALLBACK": "1"}
    assert found.commit is None
    for part in ("mps", "apple-m9-max", "37gpu", "64gib", "macos-31.4", "torch-2.13", "high"):
        assert part in found.fingerprint()


def test_a_mac_that_answers_nothing_is_unknown_not_zero(make_system):
    found = collected(make_system(platform="darwin", machine="arm64"), device_kind="mps")
    assert (found.chip, found.os_name, found.os_version) == ("unknown", "macOS", "unknown")
    numbers = (found.gpu_cores, found.ram_bytes, found.cpu_cores, found.performance_cores)
    assert numbers == (None,) * 4
    assert (found.power_source, found.power_mode, found.thermal_level) == (None,) * 3


def test_gpu_cores_come_from_the_caller_first_and_system_profiler_last(make_mac):
    displays = '{"SPDisplaysDataType": [{"sppci_model": "Apple M9", "sppci_cores": "9"}]}'
    commands = {
        "/usr/sbin/ioreg -a -r -d 1 -w 0 -c IOAccelerator": "",
        "/usr/sbin/system_profiler SPDisplaysDataType -json": displays,
    }
    mac = make_mac(commands)
    assert collected(mac, device_kind="mps").gpu_cores == 9
    assert collected(mac, device_kind="mps", gpu_cores=8).gpu_cores == 8
    assert collected(mac, device_kind="cpu").gpu_cores is None


def test_an_apple_gpu_is_not_looked_for_elsewhere(make_linux):
    linux = make_linux()
    assert read_apple_gpu(linux) is None
    assert linux.ran == []


@pytest.mark.parametrize(
    ("names", "counts", "expected"),
    [
        (("Performance", "Efficiency"), ("8", "2"), 8),
        (("Super", "Performance"), ("6", "12"), 18),
        ((None, None), ("8", "2"), 8),
        (("Performance", "Efficiency"), (None, "2"), 10),
    ],
)
def test_performance_cores_of_macs(make_system, names, counts, expected):
    lines = ["hw.logicalcpu: 10" if expected != 18 else "hw.logicalcpu: 18", "hw.nperflevels: 2"]
    for level, (name, count) in enumerate(zip(names, counts, strict=True)):
        lines += [f"hw.perflevel{level}.name: {name}"] if name else []
        lines += [f"hw.perflevel{level}.logicalcpu: {count}"] if count else []
    mac = make_system(platform="darwin", commands={"/usr/sbin/sysctl": "\n".join(lines) + "\n"})
    assert count_performance_cores(mac) == expected


def test_an_intel_mac_has_one_kind_of_core(make_system):
    mac = make_system(platform="darwin", commands={"/usr/sbin/sysctl": "hw.logicalcpu: 16\n"})
    assert count_performance_cores(mac) == 16


def test_a_linux_server(make_linux):
    found = collected(make_linux())
    assert found.chip == found.device_name == "Example CPU 9000"
    assert (found.os_name, found.os_version, found.os_build) == ("example", "12", "6.9.0-1")
    assert (found.cpu_cores, found.performance_cores) == (8, 8)
    assert found.ram_bytes == 32 * 2**30
    assert found.thermal_level is None


@pytest.mark.parametrize(
    ("line", "driver"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.154.05  Thu Dec 28 15:37:48",
            "535.154.05",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86  Release Build",
            "570.86",
        ),
        ("something else 1.2.3", None),
    ],
)
def test_the_nvidia_driver_is_read_from_the_kernel(make_linux, line, driver):
    linux = make_linux({"/proc/driver/nvidia/version": f"{line}\nGCC version: gcc 12.2.0\n"})
    assert read_nvidia_driver(linux) == driver
    assert collected(linux).driver is None


def test_a_container_has_what_it_was_allotted_at_any_level(make_linux):
    files = {
        "/proc/self/cgroup": "0::/kube/pod\n",
        "/sys/fs/cgroup/kube/cpu.max": "250000 100000\n",
        "/sys/fs/cgroup/kube/pod/cpu.max": "max 100000\n",
        "/sys/fs/cgroup/kube/pod/memory.max": f"{4 * 2**30}\n",
    }
    found = collected(make_linux(files))
    assert (found.cpu_cores, found.performance_cores) == (3, 3)
    assert found.ram_bytes == 4 * 2**30


def test_version_1_groups_are_read_and_their_no_limit_is_none(make_linux):
    files = {
        "/proc/self/cgroup": "5:cpuset:/\n4:memory:/job\n3:cpu,cpuacct:/job\n",
        "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "150000\n",
        "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n",
    }
    found = collected(make_linux(files))
    assert found.cpu_cores == 2
    assert found.ram_bytes == 32 * 2**30


def test_a_raspberry_is_named_by_its_board(make_linux):
    board = "Raspberry Pi 5 Model B Rev 1.0\0"
    arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
    files = {"/proc/cpuinfo": arm, "/proc/device-tree/model": board}
    assert collected(make_linux(files)).chip == "Raspberry Pi 5 Model B Rev 1.0"
    assert collected(make_linux({"/proc/cpuinfo": arm})).chip == "Arm 0x41 part 0xd0b"


def test_fast_cores_of_arm_and_hybrid_processors(make_linux):
    folder = "/sys/devices/system/cpu"
    little_big = {f"{folder}/cpu{cpu}/cpu_capacity": "406\n" for cpu in range(4)}
    little_big |= {f"{folder}/cpu{cpu}/cpu_capacity": "900\n" for cpu in range(4, 7)}
    little_big |= {f"{folder}/cpu7/cpu_capacity": "1024\n"}
    assert count_performance_cores(make_linux(little_big)) == 4
    hybrid = {"/sys/devices/cpu_core/cpus": "0-3\n", "/sys/devices/cpu_atom/cpus": "4-11\n"}
    assert count_performance_cores(make_linux(hybrid)) == 4
    only_little = {"/proc/self/status": "Cpus_allowed_list:\t0-3\n"}
    assert count_performance_cores(make_linux(little_big | only_little)) == 4


def test_power_of_linux_machines(make_linux):
    supply = "/sys/class/power_supply"
    laptop = {
        f"{supply}/AC/type": "Mains\n",
        f"{supply}/AC/online": "0\n",
        f"{supply}/BAT0/type": "Battery\n",
        "/sys/firmware/acpi/platform_profile": "low-power\n",
    }
    assert read_power_source(make_linux(laptop)) == "battery"
    assert read_power_source(make_linux(laptop | {f"{supply}/AC/online": "1\n"})) == "ac"
    assert read_power_source(make_linux()) is None
    assert read_power_mode(make_linux(laptop), "battery") == "low"
    assert read_power_mode(make_linux(), None) is None


def test_power_mode_of_a_mac_falls_back_to_the_listing_by_source(make_mac):
    listing = "Battery Power:\n lowpowermode 1\nAC Power:\n lowpowermode 0\n"
    commands = {
        "/usr/bin/pmset -g": "Currently in use:\n standby 1\n",
        "/usr/bin/pmset -g custom": listing,
    }
    assert read_power_mode(make_mac(commands), "ac") == "normal"
    assert read_power_mode(make_mac(commands), "battery") == "low"
    assert read_power_mode(make_mac(commands), None) is None


def test_variables_that_change_results_are_kept_and_places_are_not(make_linux):
    environ = {
        "OMP_NUM_THREADS": "4",
        "PYTORCH_MPS_HIGH_WATERMARK_RATIO": "0.0",
        "TORCHINDUCTOR_FREEZING": "1",
        "TORCH_HOME": "/home/someone/.torch",
        "CUDA_PATH": "/opt/cuda",
        "HOME": "/home/someone",
        "HF_TOKEN": "secret",
    }
    assert read_result_variables(make_linux(environ=environ)) == {
        "OMP_NUM_THREADS": "4",
        "PYTORCH_MPS_HIGH_WATERMARK_RATIO": "0.0",
        "TORCHINDUCTOR_FREEZING": "1",
    }


def test_git_on_a_mac_without_developer_tools_is_left_alone(make_mac):
    git = {"/usr/bin/git": "abc123\n"}
    bare = make_mac(git, programs={"git": "/usr/bin/git"})
    assert read_commit(bare) is None
    assert not any(line.startswith("/usr/bin/git") for line in bare.ran)
    tools = git | {"/usr/bin/xcode-select -p": "/Library/Developer/CommandLineTools\n"}
    assert read_commit(make_mac(tools, programs={"git": "/usr/bin/git"})) == "abc123"


def test_commit_of_a_real_folder(tmp_path, monkeypatch):
    git = LIVE_SYSTEM.find_program("git")
    if git is None:
        pytest.skip("git is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert read_commit() is None
    author = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    (tmp_path / "file").write_text("one")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "one")):
        subprocess.run((git, *author, *command), check=True)
    subprocess.run((git, "tag", "v1"), check=True)
    commit = read_commit()
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "unfollowed").write_text("new")
    assert read_commit() == commit
    (tmp_path / "file").write_text("two")
    assert read_commit() == f"{commit}-dirty"


def test_this_machine_makes_a_record_that_round_trips():
    found = collected(LIVE_SYSTEM)
    assert found.packages["sdperf"] == __version__
    assert parse_record(Environment, format_record(found)) == found
    assert "/" not in found.fingerprint()


def test_the_live_system_answers_none_for_what_is_not_there(tmp_path):
    assert LIVE_SYSTEM.run(str(tmp_path / "missing")) is None
    assert LIVE_SYSTEM.run(sys.executable, "-c", "raise SystemExit(3)") is None
    assert LIVE_SYSTEM.run(sys.executable, "-c", "print(1)", timeout_s=60.0) == "1\n"
    assert LIVE_SYSTEM.run(sys.executable, "-c", "input()", timeout_s=60.0) is None
    assert LIVE_SYSTEM.read_text(str(tmp_path)) is None
    assert LIVE_SYSTEM.list_names(str(tmp_path / "missing")) == ()
    assert LIVE_SYSTEM.find_program("no-such-program-at-all") is None
    assert LIVE_SYSTEM.package_version("no-such-package-at-all") is None
    with pytest.raises(ValueError, match="absolute"):
        LIVE_SYSTEM.run("python")


def test_importing_it_loads_no_torch():
    code = "import sys, sdperf.measure.environment; print('torch' in sys.modules)"
    assert LIVE_SYSTEM.run(sys.executable, "-c", code, timeout_s=60.0) == "False\n"
