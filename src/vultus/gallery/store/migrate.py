"""Bring a gallery's tables to this version of vultus, with Alembic."""

from __future__ import annotations

import hmac
from pathlib import Path

from sqlalchemy import Connection, select, text, update

from vultus.errors import VultusError
from vultus.gallery.audit import seal_head
from vultus.gallery.protection import KeyEncryptionKey, RowSeals
from vultus.gallery.protection.canonical import spell
from vultus.gallery.store.schema import collections, gallery
from vultus.gallery.store.sealing import seal_all

HEAD = "0002"
"""The revision that this version of vultus reads and writes; a test compares it with the newest migration."""


def migrate(connection: Connection) -> None:
    """Run what is missing, within the transaction of `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def upgrade(connection: Connection, key: KeyEncryptionKey) -> None:
    """Bring the tables of an older version here, and what is in them, within the transaction of `connection`.

    VultusError (log_tampered) for a gallery whose head was changed by somebody else: it would be sealed as if it were
    true.
    """
    before = revision(connection)
    migrate(connection)
    if before < "0002":
        _seal(connection, key)


def _seal(connection: Connection, key: KeyEncryptionKey) -> None:
    """Seal every row of a gallery from before rows were sealed."""
    row = dict(connection.execute(select(gallery)).one()._mapping)
    audit_key = key.unwrap(row["sealed_audit_key"], f"vultus gallery {row['uuid']} audit key".encode())
    head = spell([row["audit_seq"], row["audit_mac"]])
    if row["audit_seal"] != hmac.digest(audit_key, b"vultus audit head 1\n" + head, "sha256").hex():
        raise VultusError(
            "the end of the audit log was tampered with; verify it with the version that made the gallery, or restore "
            "a backup",
            code="log_tampered",
        )
    for one in connection.execute(select(collections.c.id, collections.c.settings)).all():
        kept = {name: value for name, value in one.settings.items() if name != "extrapolate"}  # no longer a setting
        connection.execute(update(collections).where(collections.c.id == one.id).values(settings=kept))
    seals = RowSeals(key, row["uuid"])
    row["sealed_tally"] = seals.close(seal_all(connection, seals))
    row["audit_seal"] = seal_head(audit_key, row)
    connection.execute(update(gallery).values(row))


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
