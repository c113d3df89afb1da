"""The tables of a gallery database, in SQLAlchemy's portable terms. The migrations make them, and a test compares.

`persons` and `templates` are the truth. `changes` says in which order it came about: an index follows it. Ids are never
used twice, so the id of an erased person can name nobody else later. What is called `sealed` is encrypted; the key that
opens it lies in `person_keys` (wrapped by the key-encryption key, which is never in the database). A column `mac` is
the row's seal: see `protection.seals`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite's row ids are 64 bits wide under this name only
Json = JSON().with_variant(JSONB(), "postgresql")
Name = String(200).with_variant(String(200, collation="C"), "postgresql")  # in one order in every database

metadata = MetaData()

gallery = Table(
    "gallery",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("uuid", String(36), nullable=False),
    Column("created", String(25), nullable=False),
    Column("key_id", String(16), nullable=False),  # which key-encryption key opens it
    Column("public_key", String(64), nullable=False),  # of the receipts, Ed25519, base64
    Column("sealed_signing_key", LargeBinary, nullable=False),
    Column("sealed_audit_key", LargeBinary, nullable=False),
    # The row that every writer locks: its numbers grow in the order of commits.
    Column("head", Id, nullable=False),  # of the change sequence
    Column("audit_seq", Id, nullable=False),
    Column("audit_mac", String(64), nullable=False),
    Column("audit_seal", String(64), nullable=False),  # of this row: nobody without the key can name another head
    Column("last_at", String(25), nullable=False),  # of the last write, by the clock of that moment
    # Set with every erasure and cleared once the bytes are out of the file: a crash in between is made good later.
    Column("scrub_pending", Boolean, nullable=False),
    Column("doubted_since", Id),  # entry of the audit log from which on times are in doubt; NULL where they are trusted
    Column("sealed_tally", LargeBinary),  # of every sealed row
    Column("restored_seq", Id),  # entry of the audit log that tells of the last restore, or accepted rollback
    CheckConstraint("id = 1", name="only_one"),
)

collections = Table(
    "collections",
    metadata,
    Column("id", Id, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("name", Name, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("contract_id", String(100), nullable=False),  # the templates of this contract are the ones searched
    Column("dim", Integer, nullable=False),
    Column("created", String(25), nullable=False),
    Column("settings", Json, nullable=False),
    Column("sealed_rotation_key", LargeBinary, nullable=False),
    Column("sealed_snapshot_key", LargeBinary),  # destroyed by every erasure, and with it what a snapshot file holds
    # A change of model under way: its templates lie beside the others until the cut-over.
    Column("next_model", Text),
    Column("next_contract_id", String(100)),
    Column("next_dim", Integer),
    Column("next_rotation_key", LargeBinary),
    Column("calibration_digest", String(64)),  # SHA-256 of the calibration that decides; NULL until the first decision
    Column("mac", LargeBinary),
    sqlite_autoincrement=True,
)

persons = Table(
    "persons",
    metadata,
    Column("id", Id, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("collection_id", ForeignKey("collections.id"), nullable=False),
    Column("external_id", Name, nullable=False),
    Column("name", String(200), nullable=False),
    Column("metadata", Json, nullable=False),
    Column("status", String(10), nullable=False),
    Column("created", String(25), nullable=False),
    Column("last_seen", String(25), nullable=False),  # enrolled or matched: the retention clock counts from here
    Column("retain_until", String(25)),  # overrides the collection's retention
    Column("mac", LargeBinary),
    UniqueConstraint("collection_id", "external_id"),
    CheckConstraint("status IN ('active', 'suspended')", name="known_status"),
    sqlite_autoincrement=True,
)

# A table of its own, so that on PostgreSQL the few bytes that an erasure must destroy can be rewritten quickly.
person_keys = Table(
    "person_keys",
    metadata,
    Column("person_id", ForeignKey("persons.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("mac", LargeBinary),
)

consents = Table(
    "consents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("person_id", ForeignKey("persons.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("purpose", String(200), nullable=False),
    Column("basis", String(200), nullable=False),  # for example GDPR art. 9(2)(a), explicit consent
    Column("text_digest", String(64)),  # SHA-256 of the text that was agreed to
    Column("given_at", String(25), nullable=False),
    Column("expires_at", String(25)),
    Column("withdrawn_at", String(25)),
    Column("recorded_at", String(25), nullable=False),
    Column("mac", LargeBinary),
    sqlite_autoincrement=True,
)

templates = Table(
    "templates",
    metadata,
    Column("id", Id, primary_key=True),
    Column("person_id", ForeignKey("persons.id", ondelete="CASCADE"), nullable=False),
    Column("collection_id", ForeignKey("collections.id"), nullable=False),
    Column("contract_id", String(100), nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # the rotated embedding, float32 little-endian
    Column("source_digest", String(64)),  # keyed with the person's key: the crop cannot be recognised by it elsewhere
    Column("box", Json),  # left, top, right, bottom in the photograph's pixels
    Column("quality", Json),
    Column("provenance", Json, nullable=False),
    Column("created", String(25), nullable=False),
    Column("mac", LargeBinary),
    UniqueConstraint("person_id", "contract_id", "source_digest"),  # also the index that finds a person's templates
    Index("ix_templates_active", "collection_id", "contract_id", "id"),
    sqlite_autoincrement=True,
)

crops = Table(
    "crops",
    metadata,
    Column("id", Id, primary_key=True),
    Column("person_id", ForeignKey("persons.id", ondelete="CASCADE"), nullable=False),
    Column("source_digest", String(64), nullable=False),  # of the template that was made from it
    Column("sealed", LargeBinary, nullable=False),  # PNG of the aligned crop
    Column("created", String(25), nullable=False),
    Column("mac", LargeBinary),
    UniqueConstraint("person_id", "source_digest"),
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("seq", Id, primary_key=True, autoincrement=False),
    # Plain numbers, no foreign keys: they outlive the rows they name.
    Column("collection_id", Id, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("person_id", Id),
    Column("template_id", Id),
    Column("at", String(25), nullable=False),
    Index("ix_changes_collection", "collection_id", "seq"),
    CheckConstraint("kind IN ('enrol', 'remove', 'erase', 'suspend', 'resume', 'rebuild')", name="known_kind"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Id, primary_key=True, autoincrement=False),
    Column("at", String(25), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("collection", String(36)),
    Column("subject", String(64), index=True),  # a pseudonym whose key dies with the person
    Column("details", Text, nullable=False),  # JSON, byte for byte as it was sealed
    Column("previous", String(64), nullable=False),
    Column("mac", String(64), nullable=False),
)

# Answers to writes that a client may repeat under the same key.
writes = Table(
    "writes",
    metadata,
    Column("collection_id", ForeignKey("collections.id"), primary_key=True, autoincrement=False),
    Column("client_key", String(200), primary_key=True),
    Column("person_id", ForeignKey("persons.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("request", String(64), nullable=False),  # keyed digest of what was asked
    Column("result", Json, nullable=False),
    Column("at", String(25), nullable=False),
    Column("mac", LargeBinary),
)

erasures = Table(
    "erasures",
    metadata,
    Column("person_uuid", String(36), primary_key=True),
    Column("at", String(25), nullable=False),
    Column("receipt", Text, nullable=False),
)

# How far each engine or other follower has got, so that it can be seen who lags.
followers = Table(
    "followers",
    metadata,
    Column("collection_id", ForeignKey("collections.id"), primary_key=True, autoincrement=False),
    Column("name", String(200), primary_key=True),
    Column("position", Id, nullable=False),
    Column("at", String(25), nullable=False),
)

APPEND_ONLY = ("audit", "changes", "erasures")
"""Tables whose rows no statement may change or delete; triggers refuse it."""

SEALED = (collections, persons, person_keys, consents, templates, crops, writes, erasures)
"""Tables whose rows are sealed and tallied: written by `Write` alone."""
