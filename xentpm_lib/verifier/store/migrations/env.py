"""Run by Alembic: migrate over the connection, and in the transaction, that ``schema.upgrade`` gives."""

from alembic import context

from xentpm_lib.verifier.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
