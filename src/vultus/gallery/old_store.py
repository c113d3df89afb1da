"""The truth of a gallery: one SQL database in which every write also appends to the change sequence."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, Engine, Row, Select, delete, func, insert, select, update

from vultus.errors import ContractError, VultusError
from vultus.gallery import old_schema as schema
from vultus.gallery import old_sqlite as sqlite
from vultus.gallery.names import clean_name, unknown_name
from vultus.gallery.old_schema import changes, gallery, persons, templates

UNIT_TOLERANCE = 1e-3
"""How far the length of an embedding may be from 1; float32 rounding stays below 1e-6."""


@dataclass(frozen=True)
class StoreInfo:
    """What a gallery is bound to, fixed when it is made."""

    name: str
    model: str
    """The recogniser as the user named it: a name of the zoo or a path."""
    contract_id: str
    dim: int
    created: str = ""
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class PersonInfo:
    """One enrolled person: how many templates, and first enrolled when (UTC)."""

    name: str
    templates: int
    created: datetime


@dataclass(frozen=True, eq=False)
class Sample:
    """A template about to be stored."""

    embedding: np.ndarray
    """(D,) float32, unit length."""
    source_digest: str | None = None
    """sha256 of the crop. The same crop is stored once a person."""
    detection_score: float | None = None


@dataclass(frozen=True, eq=False)
class Delta:
    """What happened since a position of the change sequence; with `rebuild`, everything there is."""

    position: int
    rebuild: bool
    template_ids: np.ndarray
    """(N,) int64."""
    person_ids: np.ndarray
    """(N,) int64."""
    embeddings: np.ndarray
    """(N, D) float32."""
    names: dict[int, str]
    """Name by person id, of the people in `person_ids`."""
    forgotten: frozenset[int]
    """Ids of persons that are gone."""


class Store:
    """A gallery file. Thread-safe; several processes may use one file at once.

    When a write method returns, the change survives kill -9 and a power cut; when it raises, nothing was changed.
    """

    def __init__(self, engine: Engine, path: Path, info: StoreInfo) -> None:
        self._engine = engine
        self.path = path
        self.info = info

    @classmethod
    def create(cls, path: Path, info: StoreInfo) -> Store:
        """Make the file and open it; where another process just made it, open that."""
        if not path.parent.is_dir():
            raise VultusError(
                f"cannot create the gallery {path}: the folder {path.parent} does not exist; make it first"
            )

        def fill(connection: Connection) -> None:
            schema.metadata.create_all(connection)
            row = {"id": 1, "format": schema.FORMAT, "name": info.name, "model": info.model}
            row |= {"contract_id": info.contract_id, "dim": info.dim, "created": _now(), "scrub_pending": False}
            connection.execute(insert(gallery).values(row))

        sqlite.create_file(path, fill)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, busy_timeout: float = sqlite.BUSY_TIMEOUT) -> Store:
        """Open an existing gallery. Raises VultusError where the file is missing, no gallery, damaged, or newer."""
        if path.is_dir():
            raise VultusError(f"gallery {path} is a folder; give a file, for example {path / 'people.db'}")
        if not path.exists():
            raise VultusError(f"gallery {path} does not exist; check the path, or enrol someone there first")
        engine = sqlite.connect(path, busy_timeout)
        try:
            with sqlite.friendly(path), engine.connect() as connection:
                if not sqlite.is_gallery(connection):
                    raise VultusError(f"{path} is no vultus gallery; give the path of one, or of a new file")
                found = connection.execute(select(gallery.c.format)).scalar()
                if found != schema.FORMAT:
                    raise VultusError(
                        f"gallery {path} has format {found}, this version of vultus reads {schema.FORMAT}; update it"
                    )
                row = connection.execute(select(gallery)).one()
            store = cls(engine, path, StoreInfo(row.name, row.model, row.contract_id, row.dim, row.created))
            if row.scrub_pending:  # an erasure was cut short
                with contextlib.suppress(VultusError):  # a reader without write access leaves it to the next
                    store._scrub()
        except BaseException:
            engine.dispose()
            raise
        return store

    def close(self) -> None:
        self._engine.dispose()

    def add(self, person: str, samples: Sequence[Sample]) -> int:
        """Store `samples` for `person`, who is made if new, all or none. Returns how many are new for this person.

        Raises VultusError for no samples or a bad name, ContractError for an embedding that does not belong here.
        """
        person = clean_name(person)
        if not samples:
            raise VultusError(f"nothing to enrol for {person!r}; give at least one photograph")
        rows = check_embeddings([sample.embedding for sample in samples], self.info.dim)
        at, added = _now(), 0
        with sqlite.friendly(self.path), self._writing() as connection, connection.begin():
            person_id = _person_id(connection, person)
            if person_id is None:
                made = connection.execute(insert(persons).values(name=person, created=at))
                person_id = int(made.inserted_primary_key[0])  # pyright: ignore[reportOptionalSubscript]
            known = select(templates.c.source_digest).where(
                templates.c.person_id == person_id, templates.c.contract_id == self.info.contract_id
            )
            seen = set(connection.execute(known).scalars())
            for sample, row in zip(samples, rows, strict=True):
                if sample.source_digest is not None and sample.source_digest in seen:
                    continue
                seen.add(sample.source_digest)
                made = connection.execute(
                    insert(templates).values(
                        person_id=person_id,
                        contract_id=self.info.contract_id,
                        embedding=row.astype("<f4").tobytes(),
                        source_digest=sample.source_digest,
                        detection_score=sample.detection_score,
                        created=at,
                    )
                )
                template_id = int(made.inserted_primary_key[0])  # pyright: ignore[reportOptionalSubscript]
                _append(connection, "enrol", person_id, template_id, at)
                added += 1
        return added

    def remove(self, names: Sequence[str]) -> tuple[int, bool]:
        """Forget people, all or none: (templates removed, whether their bytes are out of the file as well).

        The second is False where another process held the file; opening the gallery tries again.
        """
        removed = 0
        with sqlite.friendly(self.path), self._writing() as connection, connection.begin():
            ids = [self._require(connection, name) for name in dict.fromkeys(map(clean_name, names))]
            for person_id in ids:
                removed += connection.execute(delete(templates).where(templates.c.person_id == person_id)).rowcount
                connection.execute(delete(persons).where(persons.c.id == person_id))
                _append(connection, "forget", person_id, None, _now())
            connection.execute(update(gallery).values(scrub_pending=True))
        return removed, self._scrub()

    def persons(self) -> list[PersonInfo]:
        """Everyone enrolled, by name."""
        query = (
            select(persons.c.name, func.count(templates.c.id), persons.c.created)
            .join(templates, isouter=True)
            .group_by(persons.c.id)
            .order_by(persons.c.name)
        )
        with sqlite.friendly(self.path), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [PersonInfo(name, count, datetime.fromisoformat(created)) for name, count, created in rows]

    def templates_of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Template ids (T,) int64 and embeddings (T, D) float32 of one person; VultusError for an unknown name."""
        name = clean_name(name)
        with sqlite.friendly(self.path), self._engine.connect() as connection:
            person_id = self._require(connection, name)
            query = self._rows().where(templates.c.person_id == person_id)
            rows = connection.execute(query).all()
        return np.array([row.id for row in rows], np.int64), self._decode(rows)

    def follow(self, position: int | None) -> Delta:
        """What happened after `position`, read from one snapshot; everything for None or a position ahead of the file.

        Positions grow in the order of commits, because SQLite lets one transaction write at a time.
        """
        with sqlite.friendly(self.path), self._engine.connect() as connection:
            now = connection.execute(select(func.max(changes.c.seq))).scalar() or 0
            rebuild = position is None or position > now
            gone: frozenset[int] = frozenset()
            rows: Sequence[Row] = []
            if rebuild:
                rows = connection.execute(self._rows()).all()
            elif position != now:
                recent = changes.c.seq > position
                erased = select(changes.c.person_id).where(recent, changes.c.kind == "forget")
                gone = frozenset(connection.execute(erased).scalars())
                enrolled = select(changes.c.template_id).where(recent, changes.c.kind == "enrol")
                rows = connection.execute(self._rows().where(templates.c.id.in_(enrolled))).all()
        return Delta(
            position=now,
            rebuild=rebuild,
            template_ids=np.array([row.id for row in rows], np.int64),
            person_ids=np.array([row.person_id for row in rows], np.int64),
            embeddings=self._decode(rows),
            names={row.person_id: row.name for row in rows},
            forgotten=gone,
        )

    def _require(self, connection: Connection, name: str) -> int:
        person_id = _person_id(connection, name)
        if person_id is None:
            raise unknown_name(name, connection.execute(select(persons.c.name)).scalars(), str(self.path))
        return person_id

    def _rows(self) -> Select:
        columns = select(templates.c.id, templates.c.person_id, persons.c.name, templates.c.embedding)
        return columns.join(persons).where(templates.c.contract_id == self.info.contract_id).order_by(templates.c.id)

    def _decode(self, rows: Sequence[Row]) -> np.ndarray:
        matrix = np.empty((len(rows), self.info.dim), np.float32)
        for index, row in enumerate(rows):
            vector = np.frombuffer(row.embedding, "<f4") if len(row.embedding) == 4 * self.info.dim else np.zeros(1)
            if not abs(float(np.linalg.norm(vector)) - 1) <= UNIT_TOLERANCE:
                raise VultusError(
                    f"gallery {self.path}: template {row.id} of {row.name!r} is damaged; restore the gallery from a "
                    "backup, or forget and enrol that person again"
                )
            matrix[index] = vector
        return matrix

    def _writing(self) -> Connection:
        return self._engine.connect().execution_options(write=True)

    def _scrub(self) -> bool:
        with sqlite.friendly(self.path):
            done = sqlite.scrub(self._engine)
            if done:
                with self._writing() as connection, connection.begin():
                    connection.execute(update(gallery).values(scrub_pending=False))
        return done


def check_embeddings(embeddings: np.ndarray | Sequence[np.ndarray], dim: int) -> np.ndarray:
    """`embeddings` as (N, dim) float32. Raises ContractError for another dimension, NaN, or a length other than 1."""
    try:
        array = np.asarray(embeddings, np.float32)
    except (TypeError, ValueError):
        raise ContractError(f"embeddings must be one array (N, {dim}) of float32") from None
    if array.size == 0:
        return np.empty((0, dim), np.float32)
    if array.ndim != 2 or array.shape[1] != dim:
        raise ContractError(f"embeddings have shape {array.shape}; this gallery needs (N, {dim})")
    lengths = np.sqrt(np.einsum("nd,nd->n", array, array, dtype=np.float64))
    bad = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))  # written so that NaN is bad
    if len(bad):
        raise ContractError(f"embedding {bad[0]} has length {lengths[bad[0]]:.4g}, not 1; divide it by its length")
    return array


def _person_id(connection: Connection, name: str) -> int | None:
    return connection.execute(select(persons.c.id).where(persons.c.name == name)).scalar()


def _append(connection: Connection, kind: str, person_id: int, template_id: int | None, at: str) -> None:
    values = {"kind": kind, "person_id": person_id, "template_id": template_id, "at": at}
    connection.execute(insert(changes).values(values))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
