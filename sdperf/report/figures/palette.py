"""The colours of figures and reports by role, light and dark; signs and words repeat them.

Failures are vermilion and good answers are teal or blue: people who confuse red and green can
tell them apart, and every colour comes with a sign and a word. Texts reach a contrast of 4.5 to 1
on both papers.
"""

from __future__ import annotations

from typing import Final

from sdperf.record.verdict import Outcome

COLOURS: Final[dict[str, tuple[str, str]]] = {
    "ink": ("#1a1f26", "#e7eaee"),
    "dim": ("#57606b", "#a3adb8"),
    "rule": ("#d5dae1", "#363d47"),
    "faint": ("#eceff3", "#262b33"),
    "paper": ("#ffffff", "#14171c"),
    "panel": ("#f7f8fa", "#1b1f26"),
    "blue": ("#1f5ba8", "#7db2f7"),
    "blue-soft": ("#a9c6e8", "#3d5f8a"),
    "teal": ("#0b6e64", "#52c2b2"),
    "amber": ("#8f5b00", "#e3ac4f"),
    "violet": ("#6b4fa0", "#b9a3e8"),
    "grey": ("#8a939e", "#78828e"),
    "fail": ("#b03407", "#ff9c6b"),
    "fail-soft": ("#fbe9e1", "#3b2117"),
    "open": ("#59626c", "#aab3bd"),
    "good": ("#0a6b61", "#51c0b0"),
}
"""Role to its colour on light and on dark paper; no two roles share a light colour."""

SIGNS: Final[dict[Outcome, str]] = {
    Outcome.BROKEN: "✕",
    Outcome.DEGRADED: "◐",
    Outcome.SLOWER: "▲",
    Outcome.HEAVIER: "■",
    Outcome.CHANGED: "Δ",
    Outcome.INCOMPARABLE: "≠",
    Outcome.INCONCLUSIVE: "?",
    Outcome.NO_BASELINE: "○",
    Outcome.FASTER: "▼",
    Outcome.PASS: "✓",
}
"""The sign beside each outcome's word."""


def role_of(outcome: Outcome) -> str:
    """Return the colour role of an outcome: ``fail``, ``open`` or ``good``."""
    return "fail" if outcome.is_failure else "open" if outcome.is_open else "good"


def light(role: str) -> str:
    """Return a role's colour on light paper."""
    return COLOURS[role][0]
