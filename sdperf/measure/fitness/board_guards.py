"""Guards of Linux machines' heat and supply: throttling by processor, kernel or firmware. Pure."""

from __future__ import annotations

from typing import Final

from sdperf.measure.fitness.conditions import Conditions
from sdperf.measure.resources.linux.arm_parsers import SINCE_BOOT_SHIFT, SLOWED, UNDER_VOLTAGE
from sdperf.record.guard import Guard
from sdperf.units import format_quantity

_THROTTLING: Final = "thermal throttling"
_SUPPLY: Final = "supply voltage"
_COOL: Final = "cool it (fan, heat sink), and let it rest"
_SUPPLY_HINT: Final = "a supply and a cable that are made for this board"


def judge_throttling(now: Conditions) -> Guard:
    """Judge whether heat lowers the clocks now, as far as processor, kernel or firmware tell."""
    slowed = _name_slowed(now.firmware_flags or 0)
    if now.cooling_state:
        slowed.append(f"the kernel lowers clocks by {format_quantity(now.cooling_state, 'step')}")
    warmth = "" if now.temperature_c is None else f", {now.temperature_c:.0f} degrees"
    if slowed:
        return Guard(_THROTTLING, "fail", f"now{warmth}", "; ".join(slowed), _COOL)
    if _name_slowed((now.firmware_flags or 0) >> SINCE_BOOT_SHIFT):
        return Guard(
            _THROTTLING,
            "warn",
            f"since boot{warmth}",
            "clocks were lowered before; a short time within a round would not be seen",
            "cool it, then start it again: that clears the firmware's memory",
        )
    if now.throttle_count is not None:
        value = f"{now.throttle_count} since boot{warmth}"
        sentence = "counted; a round in which it grows is invalid"
        return Guard(_THROTTLING, "ok", value, sentence)
    if now.firmware_flags is not None or now.cooling_state is not None:
        sentence = "clocks are not lowered; a round in which they are is invalid"
        return Guard(_THROTTLING, "ok", f"none{warmth}", sentence)
    return Guard(
        _THROTTLING,
        "unknown",
        None,
        "neither processor nor kernel tells of throttling",
        "nothing; Intel processors, a Raspberry Pi and boards with a cpufreq cooling device tell",
    )


def judge_supply(now: Conditions) -> tuple[Guard, ...]:
    """Judge a Raspberry Pi's supply; other machines have no such guard."""
    flags = now.firmware_flags
    if flags is None:
        return ()
    if flags & UNDER_VOLTAGE:
        sentence = "the board is short of power and lowers its clocks"
        return (Guard(_SUPPLY, "fail", "too low now", sentence, _SUPPLY_HINT),)
    if flags >> SINCE_BOOT_SHIFT & UNDER_VOLTAGE:
        sentence = "the supply gave way before; it will again under load"
        return (Guard(_SUPPLY, "warn", "too low since boot", sentence, _SUPPLY_HINT),)
    return (Guard(_SUPPLY, "ok", "as it should be", "a round in which it falls is invalid"),)


def compare_board(before: Conditions, after: Conditions) -> tuple[Guard, ...]:
    """Find the effects of heat and supply during a round; empty without an effect or a reading."""
    found = []
    grown = (after.throttle_count or 0) - (before.throttle_count or 0)
    if None not in (before.throttle_count, after.throttle_count) and grown:
        sentence = f"processors slowed down for heat {format_quantity(grown, 'time')}"
        found.append(Guard(_THROTTLING, "fail", format_quantity(grown, "time"), sentence))
    was, is_now = before.cooling_state, after.cooling_state
    if was is not None and is_now is not None and is_now > was:
        sentence = f"the kernel lowered processors' clocks for heat, from step {was} to {is_now}"
        found.append(Guard(_THROTTLING, "fail", f"step {is_now}", sentence, _COOL))
    if before.firmware_flags is not None and after.firmware_flags is not None:
        fresh = after.firmware_flags & ~before.firmware_flags
        happened = after.firmware_flags | fresh >> SINCE_BOOT_SHIFT
        slowed = _name_slowed(happened)
        if slowed:
            found.append(Guard(_THROTTLING, "fail", "slowed down", "; ".join(slowed), _COOL))
        if happened & UNDER_VOLTAGE:
            sentence = "the supply's voltage fell too low"
            found.append(Guard(_SUPPLY, "fail", "too low", sentence, _SUPPLY_HINT))
    return tuple(found)


def _name_slowed(flags: int) -> list[str]:
    return [words for bit, words in SLOWED.items() if flags & bit]
