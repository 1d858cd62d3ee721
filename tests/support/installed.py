"""Whether the tests run on the package that they are meant to run on."""

from collections.abc import Mapping
from pathlib import Path

ASKED = "SDPERF_TESTS_ON_WHEEL"
"""Set where the tests are to run on an installed package, such as one from a wheel."""


def find_fault(package_file: str, environ: Mapping[str, str]) -> str | None:
    """Say what is wrong where an installed package is asked for and another was imported."""
    if not environ.get(ASKED) or "site-packages" in Path(package_file).parts:
        return None
    return (
        f"the tests are to run on an installed sdperf ({ASKED} is set), but imported "
        f"{package_file}; run them from a copy of the checkout without its folder sdperf"
    )
