"""Opens the place of a study, an SQLite file or a server, through Optuna; explains its errors.

This is the only module that needs Optuna to be installed; import it after `require_optuna`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psutil
from sqlalchemy import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool

from sdperf.errors import ConfigurationError, RecordError
from sdperf.git.links import refuse_tracked_database
from sdperf.store.files import is_spelt_in_utf8
from sdperf.tune import DEFAULT_FILE
from sdperf.urls import mask_url

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

T = TypeVar("T")

BUSY_S: Final = 60
ANSWER_S: Final = 10
HEARTBEAT_S: Final = 30
SILENCE_S: Final = 120
"""Seconds without a sign of a trial's process after which another machine repeats the trial."""

_COLLISIONS: Final = 3
_PAUSE_S: Final = 0.3

OWNER: Final = "sdperf:owner"
"""Attribute of a trial: the process that runs it."""

RETRY_OF: Final = "sdperf:retry_of"
"""Attribute of a trial: the number of the cut-off trial that it repeats."""


def require_optuna() -> None:
    """Say what to install where Optuna is missing.

    Raises:
        ConfigurationError: Optuna is missing.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigurationError(
            "the package that searches is not installed",
            got=str(error),
            hint="pip install 'sdperf[tune]'",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def locate_storage(given: str | None, root: Path) -> URL:
    """Return the place of studies: the given one, or the default file.

    Args:
        given: A URL, a path of an SQLite file, or ``None``.
        root: Folder above the default file.

    Raises:
        ConfigurationError: It is not a URL that SQLAlchemy reads, or a repository's link leads to
            the default file.
    """
    if not given:
        refuse_tracked_database("study", root / DEFAULT_FILE)
    text = given or str(root / DEFAULT_FILE)
    if not is_spelt_in_utf8(text):
        raise ConfigurationError(
            "a study cannot be kept in a place whose name is not UTF-8",
            got=ascii(text),
            expected="--storage FILE with another name, or another folder",
        )
    try:
        url = make_url(text if "://" in text else f"sqlite:///{Path(text).expanduser()}")
        if url.get_backend_name() in ("postgresql", "postgres") and "+" not in url.drivername:
            url = url.set(drivername="postgresql+psycopg")
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigurationError(
            "the storage's URL cannot be used",
            expected="a path of an SQLite file, sqlite:///FILE, postgresql://USER@HOST/DATABASE",
        ) from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "a study in memory is gone at once", got=show_url(url), expected="sqlite:///FILE"
        )
    return url


def show_url(url: URL) -> str:
    """Return a URL to show to people, without credentials."""
    return mask_url(url.render_as_string(hide_password=True))


def open_storage(
    url: URL, *, create: bool, on_silence: Callable[[Study, FrozenTrial], None]
) -> RDBStorage:
    """Open a storage.

    Args:
        url: The URL from `locate_storage`.
        create: Whether to make an SQLite file that does not exist.
        on_silence: Called with a trial whose process gave no sign for `SILENCE_S`.

    Raises:
        ConfigurationError: Its driver is missing, or the file does not exist.
        RecordError: It cannot be reached, or does not hold studies.
    """
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import RDBStorage

    is_file = url.get_backend_name() == "sqlite"
    if is_file:
        path = Path(str(url.database))
        if not create and not path.exists():
            raise ConfigurationError(
                "there is no study here", got=str(path), hint="sdperf tune begins one"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{path.parent} cannot be made", got=error.strerror) from error
    connect: dict[str, Any] = {"timeout": BUSY_S} if is_file else {}
    # Optuna's heartbeat and a constructor that fails leave connections in a pool that nobody
    # closes; those of a file cost nothing to open again.
    pooling: dict[str, Any] = {"poolclass": NullPool} if is_file else {"pool_pre_ping": True}
    if url.get_backend_name() == "postgresql":
        connect = {"connect_timeout": ANSWER_S}
    with explaining(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return repeat_collided(
                lambda: RDBStorage(
                    url.render_as_string(hide_password=False),
                    engine_kwargs={"connect_args": connect} | pooling,
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=SILENCE_S,
                    heartbeat_stale_trial_callback=on_silence,
                )
            )
        except ImportError as error:
            raise ConfigurationError(
                f"{show_url(url)} needs a driver that is not installed",
                got=str(error.__cause__ or error),
                hint="pip install 'sdperf[postgres]', or the driver that your database asks for",
            ) from error


def close_storage(storage: RDBStorage) -> None:
    """Close a storage's connections."""
    storage.remove_session()
    storage.engine.dispose()


@contextlib.contextmanager
def closed_on_error(storage: RDBStorage) -> Iterator[None]:
    """Close a storage if the work with it fails."""
    try:
        yield
    except BaseException:
        close_storage(storage)
        raise


def repeat_collided(work: Callable[[], T]) -> T:
    """Run work that two processes may begin at the same moment; repeat it where they collided.

    Optuna checks whether a table or a row exists and makes it if not. The second process to make it
    fails, and finds it when it checks again.
    """
    from optuna.exceptions import StorageInternalError

    for _ in range(_COLLISIONS):
        try:
            return work()
        except (IntegrityError, ProgrammingError, StorageInternalError):
            time.sleep(_PAUSE_S)
    return work()


@contextlib.contextmanager
def explaining(url: URL) -> Iterator[None]:
    """Turn the errors of a storage into one error.

    Raises:
        RecordError: The storage failed.
    """
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        raise RecordError(
            f"the studies in {show_url(url)} cannot be used",
            got=" ".join(str(cause).split())[:300],
            expected="an SQLite file or a database server that holds Optuna's tables or none",
        ) from error


def describe_owner() -> dict[str, str | int | float]:
    """Name this process, so that other processes can tell whether it still runs."""
    process = psutil.Process(os.getpid())
    return {
        "host": socket.gethostname(),
        "booted": round(psutil.boot_time()),
        "pid": process.pid,
        "started": process.create_time(),
    }


def is_gone(owner: object) -> bool:
    """Tell whether a trial's process was on this machine and has ended.

    For a process of another machine this is unknown; its silence shows it later.
    """
    ours = describe_owner()
    if not isinstance(owner, dict) or owner.get("host") != ours["host"]:
        return False
    booted, pid, started = (owner.get(name) for name in ("booted", "pid", "started"))
    if not isinstance(pid, int) or not isinstance(started, float):
        return False
    if isinstance(booted, int) and abs(booted - int(ours["booted"])) > 5:
        return True
    try:
        return abs(psutil.Process(pid).create_time() - started) > 1.0
    except psutil.NoSuchProcess:
        return True
