"""Is this machine fit to be measured on, and did it stay fit? This is judged before any time.

`judge_guards` turns one reading of the machine's conditions into guards; `guard_changes` compares
the readings before and after a round. Both are pure. A guard that cannot be read is ``unknown``,
which is never ``ok``. A guard without a meaning here (the hypervisor's share on real hardware, a
GPU where the CPU is measured) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdperf.device.mps_watermarks import parse_watermarks
from sdperf.errors import ConfigurationError
from sdperf.measure.fitness.board_guards import judge_supply, judge_throttling
from sdperf.measure.fitness.conditions import Conditions
from sdperf.measure.resources.nvidia import POWER_CAP, SLOWDOWN
from sdperf.record.guard import Guard, GuardState
from sdperf.units import format_bytes

_OFF: Final = ("", "0", "false", "no", "off")
_DISTORTING_VARIABLES: Final[Mapping[str, tuple[GuardState, str]]] = {
    "CUDA_LAUNCH_BLOCKING": ("fail", "waits after every kernel"),
    "METAL_DEVICE_WRAPPER_TYPE": ("fail", "switches Metal's validation on"),
    "METAL_SHADER_VALIDATION": ("fail", "checks every shader"),
    "MTL_DEBUG_LAYER": ("fail", "switches Metal's validation on"),
    "MTL_SHADER_VALIDATION": ("fail", "checks every shader"),
    "PYTORCH_DEBUG_MPS_ALLOCATOR": ("fail", "prints what the allocator does"),
    "PYTORCH_ENABLE_MPS_FALLBACK": ("warn", "lets operators run on the CPU unseen"),
    "PYTORCH_MPS_LOG_PROFILE_INFO": ("fail", "records every operator"),
    "PYTORCH_MPS_TRACE_SIGNPOSTS": ("fail", "marks every operator for Instruments"),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": ("fail", "asks the driver for every block of memory"),
}

_PRESSURE_STATES: Final[Mapping[str, GuardState]] = {
    "normal": "ok",
    "warn": "warn",
    "critical": "fail",
}
_SHOW_SYS: Final = "show the machine's /sys to the container; in a virtual machine ask its host"
_SHOW_PROC: Final = "mount /proc"
_SYSCTL: Final = "sysctl has to answer"
_NVIDIA: Final = "pip install 'sdperf[nvidia]'"

_BUSY_BACKGROUND_PERCENT: Final = 20.0
_BUSY_GPU_PERCENT: Final = (10.0, 30.0)
_LOAD_PER_CORE: Final = (0.5, 1.5)
_SCARCE_MEMORY_SHARE: Final = (0.10, 0.03)
STOLEN_SHARE: Final = (0.01, 0.05)


def judge_guards(
    conditions: Conditions, *, own_pids: frozenset[int] = frozenset()
) -> tuple[Guard, ...]:
    """Judge the machine before a run, while none of sdperf's own processes work.

    Args:
        conditions: A thorough reading.
        own_pids: Ids of sdperf's own processes, whose use of the GPU does not count.

    Returns:
        The guards that exist on this platform and device, in a fixed order.
    """
    mac = conditions.platform == "darwin"
    guards = [
        _judge_thermal(conditions) if mac else judge_throttling(conditions),
        *judge_supply(conditions),
        _judge_power_source(conditions),
        _judge_power_mode(conditions) if mac else _judge_governor(conditions),
        _judge_memory(conditions),
        _judge_swap(conditions),
        _judge_load(conditions),
        _judge_priority(conditions),
        _judge_virtual_machine(conditions),
        *((_judge_background(conditions), _judge_translation(conditions)) if mac else ()),
        *(() if mac else (_judge_limits(conditions),)),
        *(() if mac or conditions.virtual_machine is False else (_judge_steal(conditions),)),
        _judge_variables(conditions),
    ]
    if conditions.device_kind != "cpu":
        guards.append(_judge_gpu_users(conditions, own_pids))
    if conditions.device_kind == "cuda":
        guards.append(_judge_clock_events(conditions))
    if conditions.device_kind == "mps":
        guards.append(_judge_gpu_memory(conditions))
    return tuple(guards)


def _judge_thermal(now: Conditions) -> Guard:
    level = now.thermal_level
    if level is None:
        return _unknown(
            "thermal level",
            "the machine does not tell whether it is throttled",
            "notifyutil -g com.apple.system.thermalpressurelevel has to answer",
        )
    state: GuardState = "ok" if level == "nominal" else "warn" if level == "moderate" else "fail"
    sentence = "not throttled" if state == "ok" else "the chip lowers its clocks for heat"
    hint = None if state == "ok" else "let it cool down until the level is nominal"
    return Guard("thermal level", state, level, sentence, hint)


def _judge_power_source(now: Conditions) -> Guard:
    name = "power source"
    if now.power_source == "ac":
        return Guard(name, "ok", "ac", "mains")
    if now.power_source == "battery":
        return Guard(name, "fail", "battery", "clocks follow the battery", "plug it in")
    if now.has_battery is False:
        return Guard(name, "ok", "no battery", "this machine has no battery")
    hint = "pmset -g batt has to answer" if now.platform == "darwin" else _SHOW_SYS
    return _unknown(name, "mains and battery cannot be told apart", hint)


def _judge_power_mode(now: Conditions) -> Guard:
    name, mode = "power mode", now.power_mode
    if mode is None:
        return _unknown(
            name, "this model shows no energy mode", "make sure of it in System Settings > Energy"
        )
    if mode == "low":
        hint = "System Settings > Battery (or Energy) > Low Power Mode: off"
        return Guard(name, "fail", mode, "low power mode caps the clocks", hint)
    return Guard(name, "ok", mode, "part of the fingerprint")


def _judge_governor(now: Conditions) -> Guard:
    name = "clock governor"
    if now.governor is None:
        return _unknown(
            name, "the clock's governor cannot be read (usual in virtual machines)", _SHOW_SYS
        )
    if now.governor == "performance":
        return Guard(name, "ok", now.governor, "clocks stay up")
    hint = "sudo cpupower frequency-set -g performance"
    return Guard(name, "warn", now.governor, "clocks follow the load", hint)


def _judge_memory(now: Conditions) -> Guard:
    if now.platform == "darwin":
        name, pressure = "memory pressure", now.memory_pressure
        if pressure is None:
            return _unknown(name, "memory pressure cannot be read", _SYSCTL)
        state = _PRESSURE_STATES[pressure]
        sentence = "memory suffices" if state == "ok" else "macOS compresses and swaps memory"
        return Guard(name, state, pressure, sentence, None if state == "ok" else "quit programs")
    name, share = "available memory", now.available_share
    if share is None:
        return _unknown(name, "available memory cannot be read", _SHOW_PROC)
    state = grade(-share, (-_SCARCE_MEMORY_SHARE[0], -_SCARCE_MEMORY_SHARE[1]))
    sentence = "memory suffices" if state == "ok" else "the system is about to swap"
    hint = None if state == "ok" else "end other programs"
    return Guard(name, state, format_share(share), sentence, hint)


def _judge_swap(now: Conditions) -> Guard:
    if now.swapped_out_bytes is None:
        hint = "vm_stat has to answer" if now.platform == "darwin" else _SHOW_PROC
        return _unknown("swap", "swap traffic cannot be read", hint)
    used = "" if now.swap_used_bytes is None else f"{format_bytes(now.swap_used_bytes)} in use"
    sentence = "counted; a round in which memory is swapped out is invalid"
    return Guard("swap", "ok", used or None, sentence)


def _judge_load(now: Conditions) -> Guard:
    if now.load_per_core is None:
        remedy = _SYSCTL if now.platform == "darwin" else _SHOW_PROC
        return _unknown("load", "the load average cannot be read", remedy)
    state = grade(now.load_per_core, _LOAD_PER_CORE)
    sentence = "nothing else runs" if state == "ok" else "other work takes processors"
    hint = None if state == "ok" else "end other work and wait a minute"
    return Guard("load", state, f"{now.load_per_core:.2f} per core", sentence, hint)


def _judge_priority(now: Conditions) -> Guard:
    name, mac = "priority", now.platform == "darwin"
    if now.niceness is None or (mac and now.is_background is None):
        return _unknown(name, "the process's priority cannot be read", "getpriority has to answer")
    if now.is_background:
        sentence = "macOS keeps this process on its slow cores"
        return Guard(name, "fail", "background", sentence, "start it without taskpolicy")
    if now.niceness > 0:
        value, sentence = f"nice {now.niceness}", "this process yields to others"
        return Guard(name, "warn", value, sentence, "start it without nice")
    return Guard(name, "ok", f"nice {now.niceness}", "as usual; taskpolicy -c could not be seen")


def _judge_virtual_machine(now: Conditions) -> Guard:
    name = "virtual machine"
    if now.virtual_machine is None:
        hint = _SYSCTL if now.platform == "darwin" else _SHOW_SYS
        return _unknown(name, "a virtual machine cannot be told from a real one", hint)
    if not now.virtual_machine:
        return Guard(name, "ok", "no", "real hardware")
    if now.device_kind == "mps":
        sentence = "a paravirtual GPU is no evidence of how fast the real one is"
        return Guard(name, "fail", "yes", sentence, "measure on a real Mac, or use the CPU")
    if now.cpu_times is not None:
        return Guard(name, "ok", "yes", "the time it takes away is counted as steal")
    return Guard(name, "warn", "yes", "neighbours may take time unseen")


def _judge_background(now: Conditions) -> Guard:
    name = "background work"
    if now.background is None:
        return _unknown(name, "running programs cannot be listed", "ps -A has to answer")
    busy = {
        program: percent
        for program, percent in now.background.items()
        if percent >= _BUSY_BACKGROUND_PERCENT
    }
    words = [f"{program} {percent:.0f} %" for program, percent in busy.items()]
    words += ["Time Machine"] if now.backup_running else []
    if not words:
        return Guard(name, "ok", "none", "indexing and backup are idle")
    return Guard(name, "warn", ", ".join(words), "indexing or backup is running", "let it finish")


def _judge_translation(now: Conditions) -> Guard:
    if now.translated is None:
        sentence = "a translated Python cannot be told from a native one"
        return _unknown("Rosetta", sentence, _SYSCTL)
    if now.translated:
        hint = "install an arm64 Python (file $(which python3))"
        return Guard("Rosetta", "fail", "yes", "this Python is translated from Intel code", hint)
    return Guard("Rosetta", "ok", "no", "this Python is native")


def _judge_limits(now: Conditions) -> Guard:
    name = "container limits"
    if now.limits.cpus is None:
        return Guard(name, "ok", "none", "no limit on processor time")
    value = f"{now.limits.cpus:g} processors"
    sentence = "work over the limit is stopped for part of each period"
    return Guard(name, "warn", value, sentence, "docker run --cpus N, a whole number, or none")


def _judge_steal(now: Conditions) -> Guard:
    if now.cpu_times is None:
        return _unknown("steal", "time taken by the hypervisor is not counted", _SHOW_PROC)
    share = now.cpu_times.stolen / now.cpu_times.total if now.cpu_times.total else 0.0
    state: GuardState = "ok" if share < STOLEN_SHARE[0] else "warn"
    sentence = "counted; a round that loses more than 5 % to it is invalid"
    return Guard("steal", state, f"{format_share(share)} since boot", sentence)


def _judge_variables(now: Conditions) -> Guard:
    name = "environment variables"
    found = {
        variable: _DISTORTING_VARIABLES[variable]
        for variable, value in now.variables.items()
        if variable in _DISTORTING_VARIABLES and value.lower() not in _OFF
    }
    if not found:
        return Guard(name, "ok", "as usual", "no variable that distorts a measurement is set")
    state: GuardState = "fail" if any(state == "fail" for state, _ in found.values()) else "warn"
    sentence = "; ".join(f"{variable} {what}" for variable, (_, what) in found.items())
    return Guard(name, state, ", ".join(found), sentence, f"unset {' '.join(found)}")


def _judge_gpu_users(now: Conditions, own_pids: frozenset[int]) -> Guard:
    name = "other GPU users"
    others = [user.pid for user in now.gpu_users or () if user.pid not in own_pids]
    busy = now.gpu_busy_percent
    if busy is None:
        hint = "ioreg has to answer" if now.device_kind == "mps" else _NVIDIA
        return _unknown(name, "the GPU's load cannot be read", hint)
    state = grade(busy, _BUSY_GPU_PERCENT)
    state = "warn" if state == "ok" and others else state
    value = f"{busy:.0f} % busy"
    if others:
        value += f", process {', '.join(map(str, others[:4]))}"
    sentence = "the GPU is free" if state == "ok" else "something else uses the GPU"
    return Guard(name, state, value, sentence, None if state == "ok" else "end it first")


def _judge_clock_events(now: Conditions) -> Guard:
    name = "GPU clocks"
    if now.clock_events is None:
        return _unknown(name, "the reasons for lower clocks cannot be read", _NVIDIA)
    if now.clock_events & SLOWDOWN:
        sentence = "the board slows down for heat or power supply"
        return Guard(name, "fail", "slowed down", sentence, "let it cool down")
    if now.clock_events & POWER_CAP:
        return Guard(name, "warn", "power cap", "the board is at its power limit while at rest")
    return Guard(name, "ok", "free", "nothing holds the clocks down")


def _judge_gpu_memory(now: Conditions) -> Guard:
    name = "GPU memory limit"
    try:
        watermarks = parse_watermarks(now.variables)
    except ConfigurationError as error:
        return Guard(name, "fail", str(error.got), error.what, error.hint)
    if watermarks.high == 0:
        sentence = "torch never refuses memory: the machine swaps until it hangs"
        return Guard(name, "fail", "none", sentence, f"unset {' '.join(watermarks.chosen)}")
    if watermarks.chosen:
        value = f"watermarks {watermarks.high:g} and {watermarks.low:g}"
        hint = f"unset {' '.join(watermarks.chosen)}"
        return Guard(name, "warn", value, "set by hand: other Macs do not have it", hint)
    limit = now.gpu_wired_limit_bytes
    if limit is None:
        return _unknown(name, "the GPU's share of the memory cannot be read", _SYSCTL)
    if limit > 0:
        value, hint = format_bytes(limit), "sudo sysctl iogpu.wired_limit_mb=0"
        return Guard(name, "warn", value, "set by hand: other Macs do not have it", hint)
    sentence = "torch may ask for more than there is: swap is counted, round by round"
    return Guard(name, "ok", "macOS' own", sentence)


def _unknown(name: str, sentence: str, hint: str) -> Guard:
    return Guard(name, "unknown", None, sentence, hint)


def grade(value: float, borders: tuple[float, float]) -> GuardState:
    """Judge a value by the borders from which it warns and fails."""
    warn, fail = borders
    return "fail" if value >= fail else "warn" if value >= warn else "ok"


def format_share(share: float) -> str:
    """Format a share as a percentage."""
    return f"{100 * share:.1f} %"
