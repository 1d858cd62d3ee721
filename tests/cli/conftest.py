"""What is made once for all the tests of a session: stand-ins of workers, and where they run."""

import pytest

from sdperf.ab.sides.present import read_present_environment
from tests.support.ab_standin import forking_server_of_stage, stage, staged_once

__all__ = ["forking_server_of_stage", "present", "stage", "staged_once"]


@pytest.fixture(scope="session")
def present():
    """The environment of this process, which environments of packages lie over."""
    return read_present_environment()
