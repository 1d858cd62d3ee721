"""The suite that a wheel brings: ``pytest --pyargs sdperf.suite`` runs it with nothing copied.

The wheel holds the test files of the project's ``benchmarks`` folder here (pyproject.toml puts
them there), so a checkout keeps them once. Their cases are named as those of a copied folder are,
so that baselines are the same for both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = "benchmarks"
"""Name of the folder that the cases of the suite are named after."""


def list_suite_files() -> tuple[Path, ...]:
    """List the suite's test files: a wheel's, or those of the checkout."""
    here = Path(__file__).parent
    shipped = sorted(here.glob("test_*.py"))
    return tuple(shipped or sorted((here.parents[1] / FOLDER).glob("test_*.py")))
