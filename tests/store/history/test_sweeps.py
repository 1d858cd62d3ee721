"""Versions that sweeps measured in the database, and in one made before there were any."""

import dataclasses
from datetime import UTC, datetime

import sqlalchemy
from alembic import command
from alembic.config import Config

from sdperf.store.history.database import MIGRATIONS, open_database
from sdperf.store.history.extraction import extract_run
from sdperf.store.history.reading import count_runs
from sdperf.store.history.sweeps import KeptVersion, keep_sweep, load_versions
from sdperf.store.history.writing import keep_runs
from tests.support.saved_history import make_run

ONE = KeptVersion(
    sweep="a" * 16,
    series="b" * 64,
    begun_at=datetime(2026, 11, 1, 22, 0, tzinfo=UTC),
    about="diffusers",
    case_name="latency[fp32-sync-1w]",
    machine="m1-8gpu-16gib",
    setup="{}",
    anchor="0.36.0",
    is_timed=True,
    position=0,
    version="0.36.0",
    state="measured",
    seconds_per_image=1.5,
    change_log=0.0,
    lower_log=0.0,
    upper_log=0.0,
    peak_rss_bytes=3 * 2**31,
)
TWO = dataclasses.replace(
    ONE,
    position=1,
    version="0.37.0",
    speed="slower",
    change_log=0.1,
    before="0.36.0",
    step_speed="slower",
    step_change_log=0.1,
    memory="same",
    pictures="changed",
    ssim=0.9,
)


def test_what_was_kept_comes_back_in_the_order_of_sweeps_and_versions(database):
    later = [
        dataclasses.replace(one, sweep="c" * 16, begun_at=datetime(2026, 12, 1, tzinfo=UTC))
        for one in (ONE, TWO)
    ]
    keep_sweep(database, "c" * 16, later[::-1])
    keep_sweep(database, "a" * 16, [TWO, ONE])
    assert load_versions(database) == [ONE, TWO, *later]


def test_a_sweep_that_is_asked_again_takes_its_own_place_alone(database):
    other = dataclasses.replace(ONE, sweep="c" * 16, about="torch")
    keep_sweep(database, "a" * 16, [ONE])
    keep_sweep(database, "c" * 16, [other])
    keep_sweep(database, "a" * 16, [ONE, TWO])
    assert load_versions(database, "diffusers") == [ONE, TWO]
    assert load_versions(database, "torch") == [other]
    keep_sweep(database, "a" * 16, [])
    assert load_versions(database) == [other]


def test_case_and_machine_narrow_what_is_read(database):
    keep_sweep(database, "a" * 16, [ONE, TWO])
    assert load_versions(database, case="latency") == [ONE, TWO]
    assert load_versions(database, case="latency*sync*") == [ONE, TWO]
    assert load_versions(database, case="throughput") == []
    assert load_versions(database, machine="m1-8gpu") == [ONE, TWO]
    assert load_versions(database, machine="m4") == []


def test_a_history_from_before_there_were_sweeps_takes_them_and_keeps_its_runs(url):
    database = open_database(url, create=True)
    keep_runs(database, [extract_run(make_run(), "x")])
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.writing() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE sweep_versions"))
        config.attributes["connection"] = connection
        command.stamp(config, "0001")
    database.close()
    older = open_database(url, create=False)
    assert count_runs(older) == 1
    keep_sweep(older, "a" * 16, [ONE])
    assert load_versions(older) == [ONE]
    older.close()
