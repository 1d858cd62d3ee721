"""A PostgreSQL server of the tests' own, in a temporary folder, where it is installed."""

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

_NUMBERS = itertools.count()


def find_programs():
    """Return the folder with initdb and pg_ctl, or None."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None


def find_user():
    """Return whom the server runs as: nobody else than us, unless we are root, who may not."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def explain_absence():
    """Say why no server can be started here, or return None."""
    return None if find_programs() else "PostgreSQL's initdb and pg_ctl are not installed"


@contextlib.contextmanager
def running_server():
    """Start a server that listens on a socket in its own folder; yield that folder."""
    programs, user = find_programs(), find_user()
    folder = Path(tempfile.mkdtemp(prefix="sdperf-pg-"))
    try:
        if user is not None:
            shutil.chown(folder, user)

        def call(name, *arguments):
            subprocess.run(
                [programs / name, "-D", folder / "data", *arguments],
                user=user,
                cwd=folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=60,
            )

        call("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
        settings = f"-k {folder} -c listen_addresses='' -c fsync=off"
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", settings, "start")
        try:
            yield folder
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_database(folder):
    """Make a database that holds nothing yet; return its URL."""
    import sqlalchemy

    name = f"made{next(_NUMBERS)}"
    admin = sqlalchemy.create_engine(
        f"postgresql+psycopg://postgres@/postgres?host={folder}", isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return f"postgresql://postgres@/{name}?host={folder}"
