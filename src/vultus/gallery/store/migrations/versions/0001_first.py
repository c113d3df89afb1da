"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NAME = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
APPEND_ONLY = ("audit", "changes", "erasures")
PERSONAL = {
    "persons": ("external_id", "name", "metadata"),
    "person_keys": ("sealed",),
    "consents": ("purpose", "basis", "text_digest"),
    "templates": ("sealed", "source_digest", "box", "quality", "provenance"),
    "crops": ("sealed", "source_digest"),
    "writes": ("client_key", "request", "result"),
    "collections": ("sealed_snapshot_key",),
}
"""Columns that hold what an erasure must destroy."""


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", ID, autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=25), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("collection", sa.String(length=36), nullable=True),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"], unique=False)
    op.create_table(
        "changes",
        sa.Column("seq", ID, autoincrement=False, nullable=False),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("person_id", ID, nullable=True),
        sa.Column("template_id", ID, nullable=True),
        sa.Column("at", sa.String(length=25), nullable=False),
        sa.CheckConstraint("kind IN ('enrol', 'remove', 'erase', 'suspend', 'resume', 'rebuild')", name="known_kind"),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("ix_changes_collection", "changes", ["collection_id", "seq"], unique=False)
    op.create_table(
        "collections",
        sa.Column("id", ID, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.String(length=100), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("created", sa.String(length=25), nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("sealed_rotation_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_snapshot_key", sa.LargeBinary(), nullable=True),
        sa.Column("next_model", sa.Text(), nullable=True),
        sa.Column("next_contract_id", sa.String(length=100), nullable=True),
        sa.Column("next_dim", sa.Integer(), nullable=True),
        sa.Column("next_rotation_key", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "erasures",
        sa.Column("person_uuid", sa.String(length=36), nullable=False),
        sa.Column("at", sa.String(length=25), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("person_uuid"),
    )
    op.create_table(
        "gallery",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("created", sa.String(length=25), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("public_key", sa.String(length=64), nullable=False),
        sa.Column("sealed_signing_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_audit_key", sa.LargeBinary(), nullable=False),
        sa.Column("head", ID, nullable=False),
        sa.Column("audit_seq", ID, nullable=False),
        sa.Column("audit_mac", sa.String(length=64), nullable=False),
        sa.Column("audit_seal", sa.String(length=64), nullable=False),
        sa.Column("last_at", sa.String(length=25), nullable=False),
        sa.Column("scrub_pending", sa.Boolean(), nullable=False),
        sa.CheckConstraint("id = 1", name="only_one"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "followers",
        sa.Column("collection_id", ID, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("position", ID, nullable=False),
        sa.Column("at", sa.String(length=25), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
        ),
        sa.PrimaryKeyConstraint("collection_id", "name"),
    )
    op.create_table(
        "persons",
        sa.Column("id", ID, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("external_id", NAME, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("created", sa.String(length=25), nullable=False),
        sa.Column("last_seen", sa.String(length=25), nullable=False),
        sa.Column("retain_until", sa.String(length=25), nullable=True),
        sa.CheckConstraint("status IN ('active', 'suspended')", name="known_status"),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("collection_id", "external_id"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "consents",
        sa.Column("id", ID, nullable=False),
        sa.Column("person_id", ID, nullable=False),
        sa.Column("purpose", sa.String(length=200), nullable=False),
        sa.Column("basis", sa.String(length=200), nullable=False),
        sa.Column("text_digest", sa.String(length=64), nullable=True),
        sa.Column("given_at", sa.String(length=25), nullable=False),
        sa.Column("expires_at", sa.String(length=25), nullable=True),
        sa.Column("withdrawn_at", sa.String(length=25), nullable=True),
        sa.Column("recorded_at", sa.String(length=25), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_consents_person_id"), "consents", ["person_id"], unique=False)
    op.create_table(
        "crops",
        sa.Column("id", ID, nullable=False),
        sa.Column("person_id", ID, nullable=False),
        sa.Column("source_digest", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.String(length=25), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("person_id", "source_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "person_keys",
        sa.Column("person_id", ID, autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("person_id"),
    )
    op.create_table(
        "templates",
        sa.Column("id", ID, nullable=False),
        sa.Column("person_id", ID, nullable=False),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("contract_id", sa.String(length=100), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("source_digest", sa.String(length=64), nullable=True),
        sa.Column("box", JSON, nullable=True),
        sa.Column("quality", JSON, nullable=True),
        sa.Column("provenance", JSON, nullable=False),
        sa.Column("created", sa.String(length=25), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
        ),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("person_id", "contract_id", "source_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_templates_active", "templates", ["collection_id", "contract_id", "id"], unique=False)
    op.create_table(
        "writes",
        sa.Column("collection_id", ID, autoincrement=False, nullable=False),
        sa.Column("client_key", sa.String(length=200), nullable=False),
        sa.Column("person_id", ID, nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("result", JSON, nullable=False),
        sa.Column("at", sa.String(length=25), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
        ),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("collection_id", "client_key"),
    )
    op.create_index(op.f("ix_writes_person_id"), "writes", ["person_id"], unique=False)
    for table in APPEND_ONLY:
        for statement in _append_only(table, op.get_bind().dialect.name):
            op.execute(statement)
    if op.get_bind().dialect.name == "postgresql":  # what is encrypted cannot be compressed: do not try
        for table in ("templates", "crops"):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN sealed SET STORAGE EXTERNAL")
        for table, columns in PERSONAL.items():  # the planner's statistics are samples of values, and would keep them
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")


def downgrade() -> None:
    raise NotImplementedError("there is nothing before the first tables")


def _append_only(table: str, dialect: str) -> list[str]:
    """Statements after which no row of `table` can be changed or deleted."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'the table {table} is append-only'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    return [
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'the table {table} is append-only'; END $$",
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()",
    ]
