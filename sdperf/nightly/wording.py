"""Writes the text of the issue, and reads parts of it back. Pure."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sdperf.nightly.deciding import BAD_NIGHTS, BadCase, NightDecision, digest_name
from sdperf.nightly.night import ALL_CASES, Night
from sdperf.record.verdict import shorten_cases
from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.markdown.words import format_block
from sdperf.report.table import Code, Column, Marked, Table
from sdperf.shell import join_command
from sdperf.streams import strip_controls
from sdperf.units import format_names, format_quantity, shorten, shorten_apart

LABEL: Final = "sdperf-nightly"
_SHORT_COMMIT: Final = 12
_MOST_ROWS: Final = 30
_MOST_NIGHTS: Final = 14
_MOST_COMMANDS: Final = 5
_LONGEST_NAME: Final = 100
_LONGEST_REASON: Final = 200
_HIDDEN: Final = re.compile(r"\A<!-- sdperf-nightly (\{.*?\}) -->", re.DOTALL)
_MOST_LISTED: Final = 500
_MOST_LISTED_CHARACTERS: Final = 12_000
_MOST_DIGESTS: Final = 5_001
"""The most names: those of a night's cases, and the name of all of them together."""
_DIGESTS: Final = re.compile(r"(?:[\w-]{4}){0,5001}", re.ASCII)
_LONGEST_COMMAND: Final = 2_000
"""The most characters of an issue; GitHub accepts 65,536."""


def format_title(bad: Sequence[BadCase]) -> str:
    """Return the issue's title: how many cases, and one of them."""
    cases = format_quantity(len(bad), "case")
    verb = "is" if len(bad) == 1 else "are"
    names = format_names(
        [shorten(name, 60) for name in _name_cases([one.name for one in bad]).values()], most=1
    )
    return strip_controls(f"sdperf: {cases} {verb} worse night after night ({names})")


def format_body(decision: NightDecision, nights: Sequence[Night]) -> str:
    """Return the issue's text, with hidden data on its cases for later nights.

    Args:
        decision: The decision with the cases to list.
        nights: The last nights, oldest first.
    """
    listed = _choose_listed(decision.bad)
    rest = [digest_name(one.name) for one in decision.bad if one.name not in {*listed}]
    hidden = _hide({"cases": listed, "more": "".join(rest[:_MOST_DIGESTS])})
    lines = [
        f"<!-- {LABEL} {hidden} -->",
        "",
        f"The nightly run found the same cases worse {BAD_NIGHTS} nights in a row or more.",
        "",
        *format_markdown_table(_tabulate_cases(decision)),
        *_count_more(len(decision.bad), _MOST_ROWS, "case"),
        "",
        "## Which commit was it?",
        "",
        *_format_commands(decision.bad),
        "",
        "## The last nights",
        "",
        *format_markdown_table(_tabulate_nights(nights[-_MOST_NIGHTS:])),
        "",
        "This text is rewritten after each night. A case leaves the table when a night finds it "
        "well (PASS or FASTER), and the issue is closed with the last one. Who closes it by hand "
        "is not told of the same cases again.",
    ]
    return "\n".join(lines) + "\n"


def format_closing(last: Night) -> str:
    """Return the comment for closing the issue."""
    return (
        f"Every case that this issue listed is well again in the night of {last.date or 'today'}"
        f"{_name_run(last)}."
    )


def read_listed(body: object) -> tuple[str, ...] | None:
    """Read back which cases an issue lists; ``None`` where it is not an issue of sdperf.

    A person may have edited the text: an unreadable issue counts as one that lists nothing.
    """
    mark = _read_mark(body)
    if mark is None:
        return None
    cases = mark.get("cases")
    if not isinstance(cases, list):
        return ()
    return tuple(one for one in cases if isinstance(one, str))[:_MOST_LISTED]


def read_digests(body: object) -> frozenset[str]:
    """Read back the digests of the cases that an issue had no room to list."""
    text = (_read_mark(body) or {}).get("more")
    if not isinstance(text, str) or not _DIGESTS.fullmatch(text):
        return frozenset()
    return frozenset(text[at : at + 4] for at in range(0, len(text), 4))


def read_over(body: object) -> bool:
    """Read back whether sdperf itself closed an issue."""
    return (_read_mark(body) or {}).get("over") is True


def mark_over(body: str) -> str:
    """Return an issue's text with the mark that sdperf closes it."""
    listed, more = list(read_listed(body) or ()), "".join(sorted(read_digests(body)))
    mark = _hide({"cases": listed, "more": more, "over": True})
    return f"<!-- {LABEL} {mark} -->{_HIDDEN.sub('', body, count=1)}"


def _read_mark(body: object) -> dict[str, Any] | None:
    """Return the hidden data of an issue; ``None`` where it is not an issue of sdperf."""
    found = _HIDDEN.match(body) if isinstance(body, str) else None
    if found is None:
        return None
    try:
        mark = json.loads(found.group(1))
    except (ValueError, RecursionError):
        return {}
    return mark if isinstance(mark, dict) else {}


def _choose_listed(bad: Sequence[BadCase]) -> list[str]:
    """Return the names for which an issue has room."""
    sizes = itertools.accumulate(len(_hide(one.name)) + 2 for one in bad)
    fits = (
        one.name for one, size in zip(bad, sizes, strict=True) if size <= _MOST_LISTED_CHARACTERS
    )
    return list(itertools.islice(fits, _MOST_LISTED))


def _hide(value: object) -> str:
    """Return JSON that cannot end an HTML comment."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e")


def _tabulate_cases(decision: NightDecision) -> Table:
    columns = tuple(Column(title, is_text=True) for title in ("case", "answer", "since", "what"))
    rows = []
    listed = decision.bad[:_MOST_ROWS]
    names = _name_cases([one.name for one in listed])
    for one in listed:
        if not one.nights:
            why = "not measured any more" if one.name in decision.absent else "not settled any more"
            rows.append((Code(names[one.name]), "-", "-", why))
            continue
        answer = one.nights[-1].cases[one.name]
        gone = "; not measured any more" if one.name in decision.absent else ""
        nights = format_quantity(len(one.nights), "night")
        since = f"{one.nights[0].date or 'unknown'} ({nights})"
        rows.append(
            (
                Code(names[one.name]),
                answer.outcome,
                since,
                f"{shorten(answer.reason, _LONGEST_REASON)}{gone}",
            )
        )
    return Table(columns, tuple(rows))


def _format_commands(bad: Sequence[BadCase]) -> Iterator[str]:
    """Return the commands to type, equal ones once, or why no command can be given."""
    commands = dict.fromkeys(one for case in bad if (one := suggest_command(case)) is not None)
    if not commands:
        yield (
            "No command can be given: the last good night is further back than what was looked at, "
            "or nothing is known of the commits. `sdperf bisect GOOD BAD` searches between any two."
        )
        return
    yield "On the machine that measures, in a clone of this repository:"
    for command in list(commands)[:_MOST_COMMANDS]:
        yield ""
        yield from format_block(command)
    yield from _count_more(len(commands), _MOST_COMMANDS, "command")


def suggest_command(case: BadCase) -> str | None:
    """Return the command that searches for the commit; ``None`` where an end is unknown.

    The bad end is the first night of the row that was bad in the searched aspect: a slower night
    cannot be the end of a search for the commit that broke the image.
    """
    if not case.nights or case.last_good is None:
        return None
    answer = case.nights[-1].cases[case.name]
    same = (night for night in case.nights if night.cases[case.name].aspect == answer.aspect)
    good, bad = case.last_good.commit, next(same).commit
    if not good or not bad or good == bad or not _is_suggestion(answer.bisect, answer.aspect):
        return None
    ends = (good[:_SHORT_COMMIT], bad[:_SHORT_COMMIT])
    command = join_command(["sdperf", "bisect", *ends, *answer.bisect])
    return command if len(command) <= _LONGEST_COMMAND else None


def _is_suggestion(words: Sequence[str], aspect: str | None) -> bool:
    """Tell whether options are ones that sdperf suggests, since a file may contain others.

    Args:
        words: The options after the two ends, from `sdperf.judging.settling.suggest_bisect`.
        aspect: The aspect that has to be searched for.
    """
    options, values = words[::2], words[1::2]
    if not words or len(options) != len(values) or len({*options}) != len(options):
        return False
    given = dict(zip(options, values, strict=True))
    return given.get("--for") == aspect and all(
        option in _SUGGESTED
        and value.isprintable()
        and not value.startswith("-")
        and _SUGGESTED[option].fullmatch(value) is not None
        for option, value in given.items()
    )


_SUGGESTED: Final = {
    "--for": re.compile("speed|memory|image"),
    "--cases": re.compile(".+"),
    "--model": re.compile(".+"),
    "--subject": re.compile(r"[\w./\\: -]+"),
    "--batch": re.compile(r"[0-9]{1,9}"),
    "--set": re.compile(
        r"(?:(?:engine|threads|optimisations|steps|guidance|seed|size|scheduler)=[\w.:+-]+(?:,|\Z))*"
        r"(?:negative_prompt=[^=]+)?"
    ),
}
"""The options that sdperf suggests, with the values that each may have."""


def _tabulate_nights(nights: Sequence[Night]) -> Table:
    columns = tuple(Column(title, is_text=True) for title in ("night", "commit", "answer"))
    rows = []
    for night in reversed(nights):
        bad = night.list_bad()
        if night.open is not None:
            answer = f"says nothing: {shorten(night.open, 200)}"
        else:
            names = format_names(list(_name_cases(bad).values()))
            answer = f"{format_quantity(len(bad), 'case')} worse: {names}" if bad else "none worse"
            if night.left_out:
                answer += f"; {format_quantity(night.left_out, 'case')} left out of its file"
        date = Marked(night.date, f"[{night.date}]({night.url})") if night.url else night.date
        rows.append((date or "unknown", night.commit[:_SHORT_COMMIT] or "unknown", answer))
    return Table(columns, tuple(rows))


def _count_more(number: int, shown: int, noun: str) -> Iterator[str]:
    if number > shown:
        yield f"... and {format_quantity(number - shown, noun)} more."


def _name_cases(cases: Sequence[str]) -> dict[str, str]:
    """Return short names by id, of which no two are equal; `ALL_CASES` keeps its own."""
    short = shorten_cases(case for case in cases if case != ALL_CASES)
    names = dict(zip(short, shorten_apart([*short.values()], _LONGEST_NAME), strict=True))
    return {case: names.get(case, case) for case in cases}


def _name_run(night: Night) -> str:
    return f" ([run]({night.url}))" if night.url else ""
