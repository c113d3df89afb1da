"""Bring a gallery's tables to this version of vultus, with Alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text

from vultus.errors import VultusError

HEAD = "0001"
"""The revision that this version of vultus reads and writes; a test compares it with the newest migration."""


def migrate(connection: Connection) -> None:
    """Run what is missing, within the transaction of `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def revision(connection: Connection) -> str:
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())


def check_revision(found: str, label: str) -> None:
    """VultusError unless the tables are of this version."""
    if found == HEAD:
        return
    if found < HEAD:
        raise VultusError(
            f"gallery {label} was made by an older vultus (tables {found}, now {HEAD}); make a backup, then run "
            "`vultus gallery upgrade`"
        )
    raise VultusError(f"gallery {label} was made by a newer vultus (tables {found}, here {HEAD}); update vultus")
