"""Databases of both kinds, and runs to put into them."""

import pytest

from sdperf.store.history.database import open_database
from tests.support.postgres import create_database, running_server


@pytest.fixture(scope="session")
def postgres_folder():
    with running_server() as folder:
        yield folder


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    """A database that holds nothing yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.db"
    return create_database(request.getfixturevalue("postgres_folder"))


@pytest.fixture
def database(url):
    database = open_database(url, create=True)
    yield database
    database.close()


@pytest.fixture
def file(tmp_path):
    """An SQLite history."""
    database = open_database(f"sqlite:///{tmp_path}/history.db", create=True)
    yield database
    database.close()
