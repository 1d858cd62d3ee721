"""Splits a text into lines that end at line feeds only, and inserts lines. Pure.

``str.splitlines`` ends lines at nine more characters, which stand in a line for git and for TOML.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

BYTE_ORDER_MARK: Final = "\N{BYTE ORDER MARK}"
"""The byte order mark, which some editors put before a text's first character."""


def split_lines(text: str) -> list[str]:
    """Return a text's lines, each with what ends it: joined they are the text."""
    *whole, last = text.split("\n")
    return [f"{one}\n" for one in whole] + ([last] if last else [])


def find_line_end(text: str) -> str:
    r"""Return what ends most lines: ``\r\n``, or ``\n`` also where there is no line."""
    lines = text.count("\n")
    return "\r\n" if 2 * text.count("\r\n") > lines else "\n"


def insert_lines(text: str, place: int, lines: Sequence[str]) -> str:
    """Put lines into a text, ended as most of its lines are; not a character of it changes.

    Args:
        text: The text.
        place: How many of its lines stand before them.
        lines: What to put in, without line ends.
    """
    end = find_line_end(text)
    before = "".join(split_lines(text)[:place])
    missing = end if before and not before.endswith("\n") else ""
    return before + missing + "".join(one + end for one in lines) + text[len(before) :]


def unify_line_ends(text: str) -> str:
    """Return a text with the line ends that it has in a repository, whatever git made of them."""
    return text.replace("\r\n", "\n")
