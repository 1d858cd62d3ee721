"""Alembic runs this with the connection that `sdperf.store.history.database` opened and locked."""

from alembic import context

from sdperf.store.history.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
