"""The suite inside a wheel: ``pytest --pyargs sdperf.suite`` runs it without copied files.

The wheel holds the test files of the project's ``benchmarks`` folder here (pyproject.toml copies
them), so a checkout keeps them once. Their cases have the same names as those of a copied folder,
so that both share baselines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = "benchmarks"
"""Name of the folder in the names of the suite's cases."""


def list_suite_files() -> tuple[Path, ...]:
    """List the suite's test files, from the wheel or from the checkout."""
    here = Path(__file__).parent
    shipped = sorted(here.glob("test_*.py"))
    return tuple(shipped or sorted((here.parents[1] / FOLDER).glob("test_*.py")))
