"""The tables of a gallery, in SQLAlchemy's portable terms.

`persons` and `templates` are the truth. `changes` says in which order it came about: an index follows it. Ids are never
used twice, so a forgotten person's id in `changes` can name nobody else later.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

FORMAT = 1
"""Format of the database that this version writes and reads."""

metadata = MetaData()

gallery = Table(
    "gallery",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("format", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("model", String, nullable=False),
    Column("contract_id", String, nullable=False),
    Column("dim", Integer, nullable=False),
    Column("created", String, nullable=False),
    # Set with every erasure and cleared once the bytes are out of the file: a crash in between is made good later.
    Column("scrub_pending", Boolean, nullable=False),
)

persons = Table(
    "persons",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("created", String, nullable=False),
    sqlite_autoincrement=True,
)

templates = Table(
    "templates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("person_id", ForeignKey("persons.id", ondelete="CASCADE"), nullable=False),
    Column("contract_id", String, nullable=False),
    Column("embedding", LargeBinary, nullable=False),  # float32, little-endian, unit length
    Column("source_digest", String(64)),  # sha256 of the crop; no file name, no path
    Column("detection_score", Float),
    Column("created", String, nullable=False),
    UniqueConstraint("person_id", "contract_id", "source_digest"),  # also the index that finds a person's templates
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("kind", String, CheckConstraint("kind IN ('enrol', 'forget')"), nullable=False),
    # Plain numbers, no foreign keys: they outlive the rows they name.
    Column("person_id", Integer, nullable=False),
    Column("template_id", Integer),  # None for a forgotten person
    Column("at", String, nullable=False),
    sqlite_autoincrement=True,
)
