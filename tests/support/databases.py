"""SQLite that nobody waits for, and tables of Optuna whose newest form is asked once."""

import sqlite3

import pytest
from sqlalchemy import Engine, event


@pytest.fixture(autouse=True)
def unhurried_storage():
    """SQLite leaves it to the system when a page reaches the disk: no test loses the power."""

    def relax(connection, _record):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", relax)
    yield
    event.remove(Engine, "connect", relax)


NEWEST = []


@pytest.fixture(autouse=True)
def known_tables(monkeypatch):
    """Optuna imports each of its revisions whenever a study is opened, to find the newest."""
    from optuna.storages._rdb.storage import _VersionManager

    ask = _VersionManager.get_head_version

    def ask_once(manager):
        if not NEWEST:
            NEWEST.append(ask(manager))
        return NEWEST[0]

    monkeypatch.setattr(_VersionManager, "get_head_version", ask_once)
