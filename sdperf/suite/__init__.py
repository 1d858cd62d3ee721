"""The suite inside a wheel: ``pytest --pyargs sdperf.suite`` runs it without copied files.

The wheel holds the test files of the project's ``benchmarks`` folder here (pyproject.toml copies
them), so a checkout keeps them once; there, and in an editable install, that folder is run. Their
cases have the same names as those of a copied folder, so that both share baselines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = "benchmarks"
"""Name of the folder in the names of the suite's cases."""

_HERE: Final = Path(__file__).parent


def list_suite_files() -> tuple[Path, ...]:
    """List the suite's test files, from the wheel or from the checkout."""
    shipped = sorted(_HERE.glob("test_*.py"))
    return tuple(shipped or sorted((_HERE.parents[1] / FOLDER).glob("test_*.py")))


def find_suite(argument: str) -> str:
    """Return the place in the checkout, where pytest was given this package without test files.

    Args:
        argument: A word of ``pytest --pyargs``.

    Returns:
        The folder ``benchmarks`` for this package and its test files for its modules, with the same
        ``::`` and what follows; the word itself for all else, and where a wheel holds the files.
    """
    module, separator, rest = argument.partition("::")
    files = list_suite_files()
    if not files or files[0].parent == _HERE:
        return argument
    places = {__name__: files[0].parent} | {f"{__name__}.{one.stem}": one for one in files}
    return f"{places[module]}{separator}{rest}" if module in places else argument
