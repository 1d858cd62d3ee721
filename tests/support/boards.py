"""Arm boards that are not here, in the shapes that kernel and firmware document."""

from tests.support.systems import FakeSystem

CPU = "/sys/devices/system/cpu"
THERMAL = "/sys/class/thermal"
VCGENCMD = "/usr/bin/vcgencmd"


def cpus(first, last, max_khz, *, now_khz=None, capacity=None):
    files = {}
    for number in range(first, last + 1):
        folder = f"{CPU}/cpu{number}"
        files[f"{folder}/cpufreq/cpuinfo_max_freq"] = f"{max_khz}\n"
        files[f"{folder}/cpufreq/scaling_cur_freq"] = f"{now_khz or max_khz}\n"
        files[f"{folder}/cpufreq/scaling_governor"] = "ondemand\n"
        if capacity is not None:
            files[f"{folder}/cpu_capacity"] = f"{capacity}\n"
    return files


def zone(number, kind, millidegrees):
    folder = f"{THERMAL}/thermal_zone{number}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{millidegrees}\n"}


def cooling(number, kind, state):
    folder = f"{THERMAL}/cooling_device{number}"
    files = {f"{folder}/type": f"{kind}\n", f"{folder}/cur_state": f"{state}\n"}
    return files | {f"{folder}/max_state": "4\n"}


def linux(count):
    return {
        "/etc/os-release": 'NAME="Debian"\nID=debian\nVERSION_ID="13"\n',
        "/proc/sys/kernel/osrelease": "6.12.47-v8\n",
        "/proc/meminfo": "MemTotal:        8255184 kB\nMemAvailable:    7012345 kB\n",
        "/proc/self/status": f"Name:\tpython\nCpus_allowed_list:\t0-{count - 1}\n",
        "/proc/self/cgroup": "0::/user.slice\n",
        "/proc/loadavg": "0.08 0.03 0.01 1/200 1234\n",
        "/proc/stat": "cpu  100 0 0 890 0 0 0 0 0 0\n",
        "/proc/vmstat": "pswpin 0\npswpout 0\n",
        f"{CPU}/online": f"0-{count - 1}\n",
    }


def cpuinfo(part, features, count):
    lines = "BogoMIPS\t: 108.00\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU part\t: {}\n"
    return "".join(
        f"processor\t: {number}\n{lines.format(features, part)}\n" for number in range(count)
    )


def raspberry_pi(flags="0x0", files=(), **commands):
    """A Raspberry Pi 5 at rest."""
    merged = (
        linux(4)
        | cpus(0, 3, 2_400_000, now_khz=1_500_000)
        | zone(0, "cpu-thermal", 48_300)
        | cooling(0, "pwm-fan", 1)
        | {
            "/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "/proc/cpuinfo": cpuinfo("0xd0b", "fp asimd crc32 fphp asimdhp asimddp", 4),
        }
        | dict(files)
    )
    answers = {
        "get_throttled": f"throttled={flags}\n",
        "measure_temp": "temp=49.4'C\n",
        "measure_volts": "volt=0.7200V\n",
    } | commands
    return FakeSystem(
        machine="aarch64",
        files=merged,
        commands={f"{VCGENCMD} {name}": text for name, text in answers.items()},
        programs={"vcgencmd": VCGENCMD},
        packages={"torch": "2.13.0"},
    )


def big_little(files=(), *, with_capacity=True):
    """A board of four small and four large cores, its kernel throttling by cpufreq devices."""
    small, large = (414, 1024) if with_capacity else (None, None)
    merged = (
        linux(8)
        | cpus(0, 3, 1_800_000, capacity=small)
        | cpus(4, 7, 2_400_000, capacity=large)
        | zone(0, "soc-thermal", 40_100)
        | zone(1, "bigcore0-thermal", 55_000)
        | zone(2, "gpu-thermal", 90_000)
        | cooling(0, "thermal-cpufreq-0", 0)
        | cooling(1, "thermal-cpufreq-1", 0)
        | {
            "/proc/device-tree/model": "Example Board 3588\0",
            "/proc/cpuinfo": cpuinfo("0xd05", "fp asimd", 8),
        }
        | dict(files)
    )
    return FakeSystem(machine="aarch64", files=merged, packages={"torch": "2.13.0"})
