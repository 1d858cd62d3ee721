"""Makes docs/commands.md of the parsers of the command line: ``python -m tools.commands_page``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sdperf.cli import make_parser

PAGE: Final = Path(__file__).parents[1] / "docs" / "commands.md"
_HEAD: Final = """\
# Every command

Made of what `sdperf COMMAND --help` is made of, by `python -m tools.commands_page`. The options of
a pytest run are [a page of their own](options.md).
"""


def format_page() -> str:
    """Return the page."""
    lines = [_HEAD]
    for parser in _list_parsers(make_parser()):
        lines += [f"## {parser.prog}", ""]
        told = [text.strip("\n") for text in (parser.description, parser.epilog) if text]
        if told:
            lines += ["```text", "\n\n".join(told), "```", ""]
        rows = [row for action in parser._actions if (row := _format_row(action)) is not None]
        if rows:
            lines += ["| argument | meaning | values |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _list_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and all below it; a second name of one is left out."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in dict.fromkeys(action.choices.values()):
                yield from _list_parsers(below)


def _format_row(action: argparse.Action) -> str | None:
    if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
        return None
    if action.help == argparse.SUPPRESS:
        return None
    names = ", ".join(f"`{name}`" for name in action.option_strings or [_name_value(action)])
    values = ""
    if action.choices is not None:
        values = ", ".join(f"`{choice}`" for choice in action.choices)
    elif action.option_strings and action.nargs != 0:
        values = f"`{_name_value(action)}`"
    about = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    return f"| {names} | {_escape(about)} | {_escape(values)} |"


def _name_value(action: argparse.Action) -> str:
    name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    return " ".join(name) if isinstance(name, tuple) else name


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(format_page(), encoding="utf-8")
