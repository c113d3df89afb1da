"""How Alembic reaches a gallery: over the connection that `migrate.py` hands it, inside that one's transaction."""

from __future__ import annotations

from alembic import context

from vultus.gallery.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
    transactional_ddl=False,  # the caller's transaction holds it all
)
context.run_migrations()
