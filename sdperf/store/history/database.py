"""Opens a history: finds its place, takes its lock, migrates it, and explains its errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from sdperf.errors import ConfigurationError, RecordError
from sdperf.git.links import refuse_tracked_database
from sdperf.settings import HISTORY
from sdperf.store.files import is_spelt_in_utf8
from sdperf.store.history.schema import HEAD_REVISION, metadata
from sdperf.urls import mask_url

DEFAULT_FILE: Final = ".sdperf/history.db"
VARIABLE: Final = "SDPERF_HISTORY"
"""Environment variable with the history's URL: a URL with a password does not belong in the list of
commands that a shell keeps."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY_S: Final = 30
"""Seconds to wait for another writer."""

ANSWER_S: Final = 10
"""Seconds to wait for a server to answer; the end of a run waits as long."""

_WRITES: Final = "sdperf_writes"
_LOCK: Final = 0x5D9E4F
"""Number of PostgreSQL's advisory lock for writers: two writers write one after the other."""


@dataclass(frozen=True)
class Database:
    """An open history.

    Attributes:
        engine: SQLAlchemy's engine.
        shown: Its URL without credentials, to show to people.
    """

    engine: Engine
    shown: str

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection that only reads; SQLAlchemy's errors become sdperf's.

        Raises:
            RecordError: The database cannot be used.
        """
        with _explaining(self.shown), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that no other writer disturbs; a normal exit commits it.

        Raises:
            RecordError: The database cannot be used.
        """
        with (
            _explaining(self.shown),
            self.engine.connect().execution_options(**{_WRITES: True}) as connection,
            connection.begin(),
        ):
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{BUSY_S}s'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield connection

    def compact(self) -> None:
        """Free the disk space of removed rows; PostgreSQL frees it by itself.

        Raises:
            RecordError: The database cannot be written.
        """
        if self.engine.dialect.name == "sqlite":
            with _explaining(self.shown), contextlib.closing(self.engine.raw_connection()) as raw:
                raw.cursor().execute("VACUUM")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def locate_history(given: str | None, root: Path) -> str:
    """Return the history's URL: the given one, that of the environment, or the default file.

    Args:
        given: A URL, a path of an SQLite file, or ``None``.
        root: Folder above the default file.

    Returns:
        A URL. It may hold a password: show `Database.shown` to people instead.

    Raises:
        ConfigurationError: The name of the file or folder is not UTF-8, or a repository's link
            leads to the default file.
    """
    chosen = given or os.environ.get(VARIABLE)
    if not chosen:
        refuse_tracked_database("history", root / DEFAULT_FILE)
        chosen = str(root / DEFAULT_FILE)
    if not is_spelt_in_utf8(chosen):
        raise ConfigurationError(
            "the history cannot be kept in a place whose name is not UTF-8",
            got=ascii(chosen),
            expected="a place with another name, or none",
            hint=f"{HISTORY}=off, or {HISTORY}=FILE with another name",
        )
    return chosen if "://" in chosen else f"sqlite:///{Path(chosen).expanduser()}"


def require_driver(url: str) -> None:
    """Make sure that the driver of a history is installed, without connecting to it.

    Args:
        url: A URL from `locate_history`.

    Raises:
        ConfigurationError: The URL cannot be used, or its driver is missing.
    """
    parsed = _parse_url(url)
    _create_engine(parsed, mask_url(parsed.render_as_string(hide_password=True))).dispose()


def check_history(url: str) -> None:
    """Make sure that a history can be kept there, without changing it; no server is asked.

    Args:
        url: A URL from `locate_history`.

    Raises:
        ConfigurationError: The URL cannot be used, its driver is missing, or the tables are those
            of a newer sdperf.
        RecordError: The file exists and is no history of sdperf.
    """
    parsed = _parse_url(url)
    shown = mask_url(parsed.render_as_string(hide_password=True))
    database = Database(_create_engine(parsed, shown), shown)
    try:
        is_file = parsed.get_backend_name() == "sqlite" and bool(parsed.database)
        if is_file and Path(str(parsed.database)).exists():
            with database.reading() as connection:
                _read_revision(connection, shown)
    finally:
        database.close()


def open_database(url: str, *, create: bool) -> Database:
    """Open a history and bring its tables up to date.

    Args:
        url: A URL from `locate_history`: ``sqlite:///...`` or ``postgresql://...``.
        create: Whether to make an SQLite file that does not exist.

    Raises:
        ConfigurationError: The URL cannot be used, its driver is missing, the file does not exist,
            or the database was written by a newer sdperf.
        RecordError: The database cannot be reached, is damaged, or is not one of sdperf.
    """
    parsed = _parse_url(url)
    shown = mask_url(parsed.render_as_string(hide_password=True))
    if parsed.get_backend_name() == "sqlite":
        _prepare_file(parsed, shown, create=create)
    database = Database(_create_engine(parsed, shown), shown)
    try:
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except ArgumentError:
        backend = None
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise ConfigurationError(
            "the history's URL cannot be used",
            got=None if backend is None else f"{backend}://...",
            expected="sqlite:///FILE, a path of an SQLite file, or postgresql://USER@HOST/DATABASE",
        )
    if backend != "sqlite" and "+" not in parsed.drivername:
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _prepare_file(url: URL, shown: str, *, create: bool) -> None:
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "a history in memory is gone at once", got=shown, expected="sqlite:///FILE"
        )
    path = Path(url.database)
    if not path.exists() and not create:
        raise ConfigurationError(
            f"there is no history at {path}",
            hint="pytest benchmarks makes one; or: sdperf history import FOLDER",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(
            f"{path.parent} cannot be made",
            got=error.strerror,
            expected="a folder that can be written",
            hint=f"choose another place: {HISTORY} FILE",
        ) from error


def _create_engine(url: URL, shown: str) -> Engine:
    is_file = url.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {"timeout": BUSY_S} if is_file else {"connect_timeout": ANSWER_S}
    try:
        engine = create_engine(url, connect_args=arguments)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"{shown} needs a driver that is not installed",
            got=str(error),
            hint="pip install 'sdperf[postgres]'",
        ) from error
    if is_file:
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    """Begin transactions here, since Python's driver would begin them too late."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the beginning: a read lock that becomes one later can fail."""
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def _explaining(shown: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        raise RecordError(
            f"the history {shown} cannot be used",
            got=" ".join(str(cause).split())[:300],
            expected="an SQLite file of sdperf's, or a PostgreSQL database that answers",
        ) from error


def _migrate(database: Database) -> None:
    """Bring the tables up to date; alembic is loaded only where they are not."""
    with database.reading() as connection:
        revision = _read_revision(connection, database.shown)
    if revision == HEAD_REVISION:
        return
    with database.writing() as connection:
        if _read_revision(connection, database.shown) != HEAD_REVISION:  # another process did it
            _upgrade(connection, MIGRATIONS)


def _upgrade(connection: Connection, folder: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _read_revision(connection: Connection, shown: str) -> str | None:
    """Return the revision of the tables; ``None`` where no table exists yet."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        strangers = sorted(tables & set(metadata.tables))
        if strangers:
            raise RecordError(
                f"{shown} holds tables that are not sdperf's",
                got=", ".join(strangers),
                expected="a database, or a PostgreSQL schema, of its own",
            )
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    known = {path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*_*.py")}
    if revision not in known:
        raise ConfigurationError(
            f"{shown} was made by another sdperf, or by another program",
            got=f"schema {revision}",
            expected=f"at most schema {HEAD_REVISION}",
            hint="pip install --upgrade sdperf",
        )
    return str(revision)
