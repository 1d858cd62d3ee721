"""Machines that are not here, as fixtures."""

import pytest

from tests.support import systems


@pytest.fixture
def make_system():
    return systems.FakeSystem


@pytest.fixture
def make_mac():
    return systems.make_mac


@pytest.fixture
def make_linux():
    return systems.make_linux
