"""The tables. ``migrations/versions`` makes them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

HEAD_REVISION: Final = "0002"
"""The newest migration; a test compares it with the folder."""

LONGEST_NAME: Final = 1000
"""The most characters of a case's name; PostgreSQL's index entries end at 2,704 bytes."""

Id = BigInteger().with_variant(Integer, "sqlite")
"""Type of row ids: SQLite numbers rows by itself only in a plain INTEGER."""


class UtcDateTime(TypeDecorator[datetime]):
    """An instant, in UTC on every database; SQLite itself knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert a time of any zone to UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Mark a time that was read as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("content_sha256", String(64), nullable=False, unique=True),
    Column("measured_at", UtcDateTime, nullable=False),
    Column("kept_at", UtcDateTime, nullable=False),
    Column("source", Text, nullable=False),
    Column("commit_id", String(64)),
    Column("is_dirty", Boolean),
    Column("branch", Text),
    Column("project", Text),
    Column("suite_outcome", String(20)),
    Column("void", Text),
    Column("is_interrupted", Boolean, nullable=False),
    Column("is_accepted", Boolean, nullable=False),
    Index(None, "measured_at"),
    Index(None, "commit_id"),
)

documents = Table(
    "documents",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    comment="the whole run, deflated JSON",
)

environments = Table(
    "environments",
    metadata,
    Column("id", Id, primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("fingerprint", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("document", Text, nullable=False),
)

cases = Table(
    "cases",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(LONGEST_NAME), nullable=False, unique=True),
)

series = Table(
    "series",
    metadata,
    Column("id", Id, primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("machine", Text, nullable=False),
    Column("setup", Text, nullable=False),
    Index(None, "case_id"),
    comment="what may be compared with each other: one case, one machine, one workload and variant",
)

results = Table(
    "results",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("series_id", ForeignKey("series.id")),
    Column("environment_id", ForeignKey("environments.id")),
    Column("measured_at", UtcDateTime, nullable=False),
    Column("outcome", String(20)),
    Column("unusable", Text),
    Column("disturbance", Text),
    Column("rounds", Integer),
    Column("excluded_rounds", Integer),
    Column("seconds_per_image", Float),
    Column("first_call_s", Float),
    Column("load_s", Float),
    Column("peak_rss_bytes", BigInteger),
    Column("peak_device_bytes", BigInteger),
    Column("gpu_energy_per_image_j", Float),
    Column("ssim", Float),
    Column("worst_tile_ssim", Float),
    Column("entropy_bits", Float),
    Index(None, "series_id", "measured_at"),
)

sweep_versions = Table(
    "sweep_versions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("sweep", String(16), nullable=False),
    Column("series", String(64), nullable=False),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("about", Text, nullable=False),
    Column("case_name", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("setup", Text, nullable=False),
    Column("anchor", Text, nullable=False),
    Column("is_timed", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("seconds_per_image", Float),
    Column("speed", String(20)),
    Column("change_log", Float),
    Column("lower_log", Float),
    Column("upper_log", Float),
    Column("peak_rss_bytes", BigInteger),
    Column("peak_device_bytes", BigInteger),
    Column("first_call_s", Float),
    Column("load_s", Float),
    Column("before", Text),
    Column("step_speed", String(20)),
    Column("step_change_log", Float),
    Column("step_lower_log", Float),
    Column("step_upper_log", Float),
    Column("memory", String(20)),
    Column("pictures", String(20)),
    Column("ssim", Float),
    Column("worst_tile_ssim", Float),
    Index(None, "sweep"),
    Index(None, "series"),
    comment="what sweeps found: a row for each version of each case",
)
