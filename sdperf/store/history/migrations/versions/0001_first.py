"""Runs, their results and documents; series, cases and environments that they share."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("measured_at", INSTANT, nullable=False),
        sa.Column("kept_at", INSTANT, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("commit_id", sa.String(64)),
        sa.Column("is_dirty", sa.Boolean()),
        sa.Column("branch", sa.Text()),
        sa.Column("project", sa.Text()),
        sa.Column("suite_outcome", sa.String(20)),
        sa.Column("void", sa.Text()),
        sa.Column("is_interrupted", sa.Boolean(), nullable=False),
        sa.Column("is_accepted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("content_sha256", name="uq_runs_content_sha256"),
    )
    op.create_index("ix_runs_measured_at", "runs", ["measured_at"])
    op.create_index("ix_runs_commit_id", "runs", ["commit_id"])
    op.create_table(
        "documents",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_documents"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_documents_run_id", ondelete="CASCADE"
        ),
        comment="the whole run, deflated JSON",
    )
    op.create_table(
        "environments",
        sa.Column("id", ID, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("sha256", name="uq_environments_sha256"),
    )
    op.create_table(
        "cases",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
        sa.UniqueConstraint("name", name="uq_cases_name"),
    )
    op.create_table(
        "series",
        sa.Column("id", ID, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("case_id", ID, nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("setup", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
        sa.UniqueConstraint("sha256", name="uq_series_sha256"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_series_case_id"),
        comment="what may be compared with each other: one case, one machine, one workload and "
        "variant",
    )
    op.create_index("ix_series_case_id", "series", ["case_id"])
    op.create_table(
        "results",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("case_id", ID, nullable=False),
        sa.Column("series_id", ID),
        sa.Column("environment_id", ID),
        sa.Column("measured_at", INSTANT, nullable=False),
        sa.Column("outcome", sa.String(20)),
        sa.Column("unusable", sa.Text()),
        sa.Column("disturbance", sa.Text()),
        sa.Column("rounds", sa.Integer()),
        sa.Column("excluded_rounds", sa.Integer()),
        sa.Column("seconds_per_image", sa.Float()),
        sa.Column("first_call_s", sa.Float()),
        sa.Column("load_s", sa.Float()),
        sa.Column("peak_rss_bytes", sa.BigInteger()),
        sa.Column("peak_device_bytes", sa.BigInteger()),
        sa.Column("gpu_energy_per_image_j", sa.Float()),
        sa.Column("ssim", sa.Float()),
        sa.Column("worst_tile_ssim", sa.Float()),
        sa.Column("entropy_bits", sa.Float()),
        sa.PrimaryKeyConstraint("run_id", "case_id", name="pk_results"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_results_run_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_results_case_id"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_results_series_id"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_results_environment_id"
        ),
    )
    op.create_index("ix_results_series_id_measured_at", "results", ["series_id", "measured_at"])
