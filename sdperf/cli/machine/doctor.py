"""``sdperf doctor``: is this machine fit to be measured on, and what can be measured here?"""

from __future__ import annotations

import argparse
import json
import os
import re
from typing import Final

from sdperf.cli.shared.output import wants_colour
from sdperf.device import DeviceKind
from sdperf.device.cpu_flags import read_cpu_native_precisions
from sdperf.measure.clock import monotonic_clock
from sdperf.measure.environment import collect_environment, read_apple_gpu
from sdperf.measure.fitness.conditions import read_conditions
from sdperf.measure.fitness.guards import judge_guards
from sdperf.measure.resources.apple.apple_parsers import parse_footprint
from sdperf.measure.resources.apple.apple_rusage import read_process_usage
from sdperf.measure.resources.inventory import list_probe_kinds
from sdperf.measure.resources.linux.arm import read_core_kinds
from sdperf.measure.resources.nvidia import NvmlGpu, open_nvml
from sdperf.measure.resources.probe import Missing
from sdperf.measure.system import LIVE_SYSTEM, System
from sdperf.models.presets import PRESETS
from sdperf.record.environment import Environment
from sdperf.record.guard import Guard, GuardState
from sdperf.record.json import format_record
from sdperf.report.text.doctor import DoctorReport, ProbeReport, format_doctor
from sdperf.units import format_bytes, format_quantity

_EPILOG: Final = """\
exit status: 0 fit to measure, 1 something fails (with --strict: or warns, or is unknown)

examples:
  sdperf doctor
  sdperf doctor --strict && pytest benchmarks
  sdperf doctor --json > doctor.json
"""
_NEEDED_PACKAGES: Final = ("torch", "diffusers", "transformers")
_OLDEST_MACOS: Final = 14
"""The oldest macOS for MPS, which torch itself names."""

_FITS: Final = 1 / 3
_TIGHT: Final = 2 / 3

_FOOTPRINT_AGREEMENT: Final = 1.5
"""Tolerated difference of two readings a moment apart; a wrong layout differs by far more."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "doctor",
        help="tell whether this machine is fit to be measured on",
        description="Show the machine, its fingerprint, every guard and every probe. Loads no "
        "torch and measures nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--strict", action="store_true", help="also fail on what warns or cannot be read"
    )


def run(arguments: argparse.Namespace) -> int:
    """Examine this machine and print the results."""
    report = collect_report()
    if arguments.json:
        print(json.dumps(format_record(report), indent=2))
    else:
        print(format_doctor(report, colour=wants_colour()))
    doubtful = report.count("warn") + report.count("unknown") if arguments.strict else 0
    return 1 if report.count("fail") + doubtful else 0


def collect_report(system: System = LIVE_SYSTEM) -> DoctorReport:
    """Examine a machine. GPUs are named by the driver's own tools, torch by its metadata."""
    start_s = monotonic_clock()
    opened = open_nvml(system.environ.get("CUDA_VISIBLE_DEVICES"))
    gpu = None if isinstance(opened, Missing) else opened
    try:
        environment = _collect_environment(system, gpu)
        conditions = read_conditions(environment.device_kind, system=system, gpu=gpu)
    finally:
        if gpu is not None:
            gpu.close()
    checks = (
        *_check_packages(environment),
        *_check_device(environment, gpu is not None),
        *_check_mac(environment, system),
        *_check_core_kinds(environment, system),
    )
    return DoctorReport(
        environment=environment,
        fingerprint=environment.fingerprint(),
        native_precisions=read_cpu_native_precisions(),
        checks=checks,
        guards=judge_guards(conditions),
        probes=tuple(_examine_probes(system)),
        took_s=monotonic_clock() - start_s,
        models=judge_models(environment.ram_bytes),
    )


def judge_models(ram_bytes: int | None) -> tuple[Guard, ...]:
    """Tell which published models fit into a machine's memory; this is not part of the verdict.

    Only weights are counted. By a rule of thumb they may take a third of the memory: activations,
    graphs and the system need the rest, and a Mac shares its memory with its GPU.
    """
    if ram_bytes is None:
        return ()
    found = []
    for name, preset in PRESETS.items():
        size_bytes = preset.weight_bytes(preset.precision)
        if size_bytes is None:
            continue
        share = size_bytes / ram_bytes
        steps = format_quantity(preset.num_inference_steps, "step")
        value = f"{preset.precision} {format_bytes(size_bytes)}, {preset.size} px, {steps}"
        state: GuardState = "ok" if share < _FITS else "warn" if share < _TIGHT else "fail"
        words = {"ok": "fits", "warn": "tight, watch the swap", "fail": "does not fit"}[state]
        found.append(Guard(name.rpartition("/")[2], state, value, words))
    return tuple(found)


def _collect_environment(system: System, gpu: NvmlGpu | None) -> Environment:
    """Describe the machine for the device that ``auto`` would take."""
    kind: DeviceKind = "cpu"
    name, cores = "", None
    if system.machine == "arm64" and read_apple_gpu(system) is not None:
        kind = "mps"
    elif gpu is not None and not _is_cpu_build(system.package_version("torch")):
        kind, name, cores = "cuda", gpu.read_name() or "", gpu.read_multiprocessors()
    return collect_environment(device_kind=kind, device_name=name, gpu_cores=cores, system=system)


def _check_packages(environment: Environment) -> list[Guard]:
    checks = []
    for name in _NEEDED_PACKAGES:
        version = environment.packages.get(name)
        if version is None:
            checks.append(Guard(name, "fail", None, "is not installed", f"pip install {name}"))
        else:
            checks.append(Guard(name, "ok", version, "installed"))
    return checks


def _check_device(environment: Environment, has_board: bool) -> list[Guard]:
    version = environment.packages.get("torch")
    if not has_board or not _is_cpu_build(version):
        return []
    sentence = "this build of torch cannot use the NVIDIA board of this machine"
    return [Guard("torch build", "warn", version, sentence, "pip install torch (a CUDA build)")]


def _check_mac(environment: Environment, system: System) -> list[Guard]:
    if system.platform != "darwin":
        return []
    major = re.match(r"\d+", environment.os_version)
    recent = None if major is None else int(major.group()) >= _OLDEST_MACOS
    value = environment.os_version
    if recent is None:
        macos = Guard("macOS", "unknown", None, "its version cannot be read")
    elif recent:
        macos = Guard("macOS", "ok", value, "recent enough for MPS")
    else:
        hint = f"update to macOS {_OLDEST_MACOS} or later"
        macos = Guard("macOS", "fail", value, "current torch has no MPS here", hint)
    advice = [] if major is None else _advise_torch(environment)
    return [macos, *advice, _check_footprint(system)]


def _advise_torch(environment: Environment) -> list[Guard]:
    """Name the best known torch for this macOS and chip; this is not part of the verdict."""
    from packaging.version import InvalidVersion, Version

    from sdperf.mps_check.advice import choose_torch
    from sdperf.mps_check.dispatch import known_versions
    from sdperf.mps_check.limits import load_limits

    text = environment.packages.get("torch")
    try:
        macos = Version(environment.os_version)
        installed = None if text is None else Version(Version(text).public)
    except InvalidVersion:
        return []
    advice = choose_torch(
        known_versions(), load_limits(), macos=macos, chip=environment.chip, installed=installed
    )
    return [Guard("torch for this Mac", "ok", text, advice.describe())]


def _check_core_kinds(environment: Environment, system: System) -> list[Guard]:
    """Show the kinds of cores of a machine that has several."""
    kinds = read_core_kinds(system) if system.platform == "linux" else ()
    if len(kinds) < 2:
        return []
    words = []
    for kind in kinds:
        clock = "" if kind.max_clock_mhz is None else f" at {kind.max_clock_mhz:.0f} MHz"
        capacity = "" if kind.capacity is None else f" (capacity {kind.capacity})"
        words.append(f"{kind.count}{clock}{capacity}")
    fast = environment.performance_cores
    sentence = "workers share the fast ones" if fast is None else f"workers share {fast} fast ones"
    return [Guard("core kinds", "ok", ", ".join(words), sentence)]


def _check_footprint(system: System) -> Guard:
    """Compare sdperf's reading of a kernel structure with that of Apple's own program."""
    name, pid = "memory footprint", os.getpid()
    program = ("/usr/bin/footprint", "--noCategories", "-f", "bytes", "-p", str(pid))
    theirs, usage = parse_footprint(system.run(*program) or ""), read_process_usage(pid)
    ours = usage.footprint_bytes if usage else None
    if not theirs or not ours:
        return Guard(name, "unknown", None, "cannot be checked against Apple's own program")
    ratio = ours / theirs
    if 1 / _FOOTPRINT_AGREEMENT <= ratio <= _FOOTPRINT_AGREEMENT:
        return Guard(name, "ok", f"{ratio:.2f} of Apple's", "readings agree")
    sentence = "our reading disagrees with Apple's program: do not trust footprints here"
    return Guard(name, "warn", f"{ratio:.2f} of Apple's", sentence)


def _examine_probes(system: System) -> list[ProbeReport]:
    reports = []
    for kind in list_probe_kinds(system):
        found = kind.find(system)
        missing = found if isinstance(found, Missing) else Missing("", None)
        reports.append(
            ProbeReport(kind.name, kind.scope, kind.gives, missing.reason or None, missing.hint)
        )
    return reports


def _is_cpu_build(version: str | None) -> bool:
    return version is not None and version.endswith("+cpu")
