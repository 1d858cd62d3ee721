"""The versions of sweeps: one row for each version of each case."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "sweep_versions",
        sa.Column("id", ID, nullable=False),
        sa.Column("sweep", sa.String(16), nullable=False),
        sa.Column("series", sa.String(64), nullable=False),
        sa.Column("begun_at", INSTANT, nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("case_name", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("setup", sa.Text(), nullable=False),
        sa.Column("anchor", sa.Text(), nullable=False),
        sa.Column("is_timed", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("seconds_per_image", sa.Float()),
        sa.Column("speed", sa.String(20)),
        sa.Column("change_log", sa.Float()),
        sa.Column("lower_log", sa.Float()),
        sa.Column("upper_log", sa.Float()),
        sa.Column("peak_rss_bytes", sa.BigInteger()),
        sa.Column("peak_device_bytes", sa.BigInteger()),
        sa.Column("first_call_s", sa.Float()),
        sa.Column("load_s", sa.Float()),
        sa.Column("before", sa.Text()),
        sa.Column("step_speed", sa.String(20)),
        sa.Column("step_change_log", sa.Float()),
        sa.Column("step_lower_log", sa.Float()),
        sa.Column("step_upper_log", sa.Float()),
        sa.Column("memory", sa.String(20)),
        sa.Column("pictures", sa.String(20)),
        sa.Column("ssim", sa.Float()),
        sa.Column("worst_tile_ssim", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_sweep_versions"),
        comment="what sweeps found: a row for each version of each case",
    )
    op.create_index("ix_sweep_versions_sweep", "sweep_versions", ["sweep"])
    op.create_index("ix_sweep_versions_series", "sweep_versions", ["series"])
