"""Run by Alembic inside the transaction that mailer.db.migrate opened."""

from alembic import context

from mailer.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
