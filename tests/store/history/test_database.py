import shutil

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from sdperf.errors import ConfigurationError, RecordError
from sdperf.store.history import database as module
from sdperf.store.history import schema
from sdperf.store.history.database import MIGRATIONS, locate_history, open_database
from sdperf.store.history.extraction import extract_run
from sdperf.store.history.reading import count_runs, list_runs
from sdperf.store.history.writing import keep_runs
from tests.support.saved_history import make_run


def test_the_newest_migration_is_the_one_that_the_code_knows():
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [schema.HEAD_REVISION]


def test_migrations_make_the_tables_that_the_code_uses(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_opening_again_migrates_nothing(url, monkeypatch):
    open_database(url, create=True).close()
    monkeypatch.setattr(module, "_upgrade", lambda *_: pytest.fail("nothing is to be done"))
    open_database(url, create=False).close()


def test_an_older_schema_is_brought_up_to_date_with_its_runs(url, tmp_path, monkeypatch):
    database = open_database(url, create=True)
    keep_runs(database, [extract_run(make_run(), "x")])
    database.close()
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0003_colour.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        'revision = "0003"\n'
        'down_revision = "0002"\n'
        "def upgrade():\n"
        '    op.add_column("runs", sa.Column("colour", sa.Text(), server_default="red"))\n'
    )
    monkeypatch.setattr(module, "MIGRATIONS", folder)
    monkeypatch.setattr(module, "HEAD_REVISION", "0003")
    database = open_database(url, create=False)
    with database.reading() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT colour FROM runs")) == "red"
    assert count_runs(database) == 1
    database.close()


def test_a_failed_migration_leaves_the_tables_as_they_were(url, tmp_path, monkeypatch):
    open_database(url, create=True).close()
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0003_half.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        'revision = "0003"\n'
        'down_revision = "0002"\n'
        "def upgrade():\n"
        '    op.add_column("runs", sa.Column("colour", sa.Text()))\n'
        '    op.add_column("nowhere", sa.Column("colour", sa.Text()))\n'
    )
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", folder)
        patch.setattr(module, "HEAD_REVISION", "0003")
        with pytest.raises(RecordError, match="cannot be used"):
            open_database(url, create=False)
    database = open_database(url, create=False)
    assert "colour" not in {
        c["name"] for c in sqlalchemy.inspect(database.engine).get_columns("runs")
    }
    database.close()


def test_a_newer_schema_is_refused(database, url):
    with database.writing() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"schema 9999.*pip install --upgrade sdperf"):
        open_database(url, create=False)


def test_tables_of_somebody_else_are_left_alone(url, tmp_path):
    path = tmp_path / "other.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE runs (mine TEXT)"))
    engine.dispose()
    with pytest.raises(RecordError, match="not sdperf's; got: runs"):
        open_database(f"sqlite:///{path}", create=False)


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "odd.db"
    path.write_bytes(b"no database at all" * 500)
    with pytest.raises(RecordError, match=r"odd\.db cannot be used; got: file is not a database"):
        open_database(f"sqlite:///{path}", create=False)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://a/b", "the history's URL cannot be used; got: mysql"),
        ("not a url", "the history's URL cannot be used"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_urls_that_cannot_be_meant_are_refused(url, message):
    with pytest.raises(ConfigurationError, match=message):
        open_database(url, create=True)


def test_a_missing_file_is_made_only_on_request(tmp_path):
    url = f"sqlite:///{tmp_path}/deep/history.db"
    with pytest.raises(ConfigurationError, match="there is no history"):
        open_database(url, create=False)
    open_database(url, create=True).close()
    assert (tmp_path / "deep/history.db").exists()


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path):
    url = f"postgresql://me:secret@/x?host={tmp_path}"
    with pytest.raises(RecordError) as caught:
        open_database(url, create=False)
    assert "secret" not in str(caught.value)
    assert "***" in str(caught.value)


def test_the_history_is_where_was_said_or_at_its_place(tmp_path, monkeypatch):
    monkeypatch.delenv("SDPERF_HISTORY", raising=False)
    assert locate_history(None, tmp_path) == f"sqlite:///{tmp_path}/.sdperf/history.db"
    monkeypatch.setenv("SDPERF_HISTORY", "postgresql://team/db")
    assert locate_history(None, tmp_path) == "postgresql://team/db"
    assert locate_history("mine.db", tmp_path) == "sqlite:///mine.db"


def test_instants_come_back_in_utc(database):
    keep_runs(
        database, [extract_run(make_run(extra={"datetime": "2026-05-01T02:00:00+03:00"}), "x")]
    )
    (head,) = list_runs(database)
    assert head.measured_at.isoformat() == "2026-04-30T23:00:00+00:00"
