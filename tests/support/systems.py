"""Machines that are not here: an operating system made of dictionaries."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class FakeSystem:
    """Answers what it was given, by the longest command that starts like the one run."""

    platform: str = "linux"
    machine: str = "x86_64"
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    streams: tuple = ()
    niceness: int | None = 0
    background: bool | None = None
    ran: list[str] = field(default_factory=list)

    def run(self, program, *arguments, timeout_s=2.0):
        assert program.startswith("/")
        line = " ".join((program, *arguments))
        self.ran.append(line)
        found = [known for known in self.commands if line.startswith(known)]
        return self.commands[max(found, key=len)] if found else None

    def start(self, program, *arguments):
        self.ran.append(" ".join((program, *arguments)))
        if not self.streams:
            return None
        stream, *self.streams = self.streams
        return stream

    def read_text(self, path):
        return self.files.get(path)

    def list_names(self, path):
        below = [
            name.removeprefix(f"{path}/") for name in self.files if name.startswith(f"{path}/")
        ]
        return tuple(sorted({name.split("/")[0] for name in below}))

    def find_program(self, name):
        return self.programs.get(name)

    def package_version(self, name):
        return self.packages.get(name)

    def read_niceness(self):
        return self.niceness

    def is_background(self):
        return self.background


IOREG = """<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><array><dict>
<key>model</key><string>Apple M9 Max</string>
<key>gpu-core-count</key><integer>37</integer>
<key>vendor-id</key><data>axAAAA==</data>
<key>PerformanceStatistics</key><dict>
<key>Alloc system memory</key><integer>7000000000</integer>
<key>Device Utilization %</key><integer>3</integer>
<key>In use system memory (driver)</key><integer>0</integer>
<key>In use system memory</key><integer>900000000</integer>
<key>recoveryCount</key><integer>0</integer>
</dict></dict></array></plist>
"""

SYSCTL = """machdep.cpu.brand_string: Apple M9 Max
hw.memsize: 68719476736
hw.logicalcpu: 14
hw.nperflevels: 2
hw.perflevel0.name: Performance
hw.perflevel0.logicalcpu: 10
hw.perflevel1.name: Efficiency
hw.perflevel1.logicalcpu: 4
kern.osproductversion: 31.4.1
kern.osversion: 31E77
kern.hv_vmm_present: 0
iogpu.wired_limit_mb: 0
kern.memorystatus_vm_pressure_level: 1
sysctl.proc_translated: 0
vm.swapusage: total = 2048.00M  used = 512.50M  free = 1535.50M  (encrypted)
"""

MAC = {
    "/usr/sbin/sysctl -i": SYSCTL,
    "/usr/sbin/ioreg -a -r -d 1 -w 0 -c IOAccelerator": IOREG,
    "/usr/bin/pmset -g": "Currently in use:\n standby              1\n powermode            2\n",
    "/usr/bin/pmset -g batt": "Now drawing from 'AC Power'\n -InternalBattery-0 (id=7)\t91%;\n",
    "/usr/bin/notifyutil -g com.apple": "com.apple.system.thermalpressurelevel 0\n",
}

LINUX = {
    "/etc/os-release": 'NAME="Example"\nID=example\nVERSION_ID="12"\n',
    "/proc/sys/kernel/osrelease": "6.9.0-1\n",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Example CPU 9000\nflags\t\t: fpu sse\n",
    "/proc/meminfo": "MemTotal:       33554432 kB\nMemAvailable:   16777216 kB\n",
    "/proc/self/status": "Name:\tpython\nCpus_allowed_list:\t0-7\n",
    "/proc/self/cgroup": "0::/\n",
}


def make_mac(commands=(), **rest):
    """Build a healthy Mac; commands given replace or (with None) remove its own."""
    merged = {**MAC, **dict(commands)}
    kept = {name: text for name, text in merged.items() if text is not None}
    own = {"platform": "darwin", "machine": "arm64", "commands": kept, "background": False}
    return FakeSystem(**own | rest)


def make_linux(files=(), **rest):
    """Build a small Linux server; files given replace or (with None) remove its own."""
    merged = {**LINUX, **dict(files)}
    kept = {name: text for name, text in merged.items() if text is not None}
    return FakeSystem(files=kept, **rest)
