"""The parser of the command line, which refuses what a command does not know as that command."""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import Any, Final

from sdperf.report.text.wrapping import format_error

_ALIKE: Final = 0.7
"""How alike an option has to be to what was typed to be named, of 1 for the same."""


class CommandParser(argparse.ArgumentParser):
    """A parser whose commands refuse words that they do not know.

    argparse hands such words up to the first parser, whose usage lists the commands and none of
    the options that could have been meant.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; end with status 2 where a word is left."""
        parsed, left = super().parse_known_args(args, namespace)
        if left:
            self.print_usage(sys.stderr)
            told = format_error(self.prog, self._explain(left), sys.stderr)
            self.exit(2, f"{told}\n")
        return parsed, left

    def _explain(self, left: list[str]) -> list[str]:
        """Say which word is not known, and which option was probably meant."""
        do = f"do: {self.prog} --help"
        option = next((word for word in left if word.startswith("-")), None)
        if option is None:
            return [f"it does not take {left[0]}", "expected: what its usage names", do]
        name = option.partition("=")[0]
        near = difflib.get_close_matches(name, self._option_string_actions, n=1, cutoff=_ALIKE)
        expected = [f"expected: {near[0]}, probably"] if near else []
        return [f"there is no option {name}", *expected, do]
