"""A copy of a whole gallery in one sealed file, that restores to either database."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from sqlalchemy import Connection, Table, func, insert, select

from vultus.errors import FileError, VultusError
from vultus.files import refuse_same, working_folder, writing
from vultus.gallery.audit import anchor
from vultus.gallery.custody.erase import sweep_leftovers
from vultus.gallery.protection import KeyEncryptionKey, ProtectionError, read_header, read_sealed, seal_into
from vultus.gallery.store import Store, clock, migrate
from vultus.gallery.store.schema import gallery, metadata, persons
from vultus.gallery.store.sqlite import NamelessCopy

FORMAT = "vultus gallery backup 2"
AT_ONCE = 5_000
"""Rows that are held in memory; with a kept crop of 20 kB each they take 100 MB."""

Progress = Callable[[int, int], object]
"""Called with (rows copied, rows in all)."""


@dataclass(frozen=True)
class BackupInfo:
    """What a backup says of itself; none of it is secret or personal."""

    path: Path
    gallery: str
    """The uuid of the gallery, which its restored copy has as well."""
    key_id: str
    """Of the key-encryption key that opens the file and what is sealed inside it."""
    made: str
    """UTC, ISO 8601."""
    head: int
    """How far the change sequence had got."""
    anchor: str
    """The last entry of the audit log: kept elsewhere, it shows later that no restored log was cut."""
    persons: int
    templates: int
    size: int
    """Bytes."""


def backup(store: Store, path: str | Path, *, overwrite: bool = False, progress: Progress | None = None) -> BackupInfo:
    """Write all tables as they are at one moment, while others go on reading and writing.

    The file is a SQLite copy of the tables, sealed as a whole (AES-256-GCM) with a key that is derived from the
    gallery's key-encryption key: names and metadata, which lie open in the database, cannot be read in the backup. The
    key itself is not in it; a backup without the key it was made with is worth nothing. It appears under its name, mode
    0600, only after it was read back, opened and counted. For that long an unsealed copy lies in a file without a name
    on the disk of the gallery's state folder, which needs room for one; kill -9 frees it.

    Raises VultusError where `path` is taken and may not be overwritten, or cannot be written. Codes: exists,
    not_a_file, no_folder, unwritable.
    """
    path = Path(path)
    refuse_same(path, store.label)
    if path.is_dir() or (path.exists() and not overwrite):
        raise VultusError(
            f"{path} is there already; choose another name, or say that it may be overwritten", code="exists", path=path
        )
    if not path.parent.is_dir():
        raise VultusError(f"cannot write {path}: there is no folder {path.parent}", code="no_folder", path=path)
    sweep_leftovers(store)
    with writing(path, mode=0o600, overwrite=overwrite) as file, work_in(store.state) as folder:
        key = _file_key(store.key, store.info.uuid)
        with closing(NamelessCopy(folder)) as copy:
            header = _copy(store, copy, progress)
            seal_into(file, key, header, [np.memmap(copy.file, np.uint8, "r")])
        with _unsealed(path, key, folder, file) as copy, opened_copy(copy) as connection:
            if _counts(connection) != header["rows"] or _anchor(connection) != header["anchor"]:
                raise VultusError(f"the backup {path} does not hold what was written to it; check the disk, try again")
    with store.writing() as write:
        write.audit("backup_made", None, None, {"head": header["head"], "anchor": header["anchor"]})
    return describe_backup(path)


@contextmanager
def work_in(state: Path) -> Iterator[Path]:
    """A folder for working copies in `state`, which is made where it is not there."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot write to {state}: {error.strerror}", code="unwritable", path=state) from None
    with working_folder(state, "copy") as folder:
        yield folder


def describe_backup(path: str | Path) -> BackupInfo:
    """What the file says of itself, read without a key and not authenticated; ProtectionError where it is no backup."""
    path = Path(path)
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise ProtectionError(f"{path} is no backup that this version reads; make one with `vultus gallery backup`")
    try:
        rows = header["rows"]
        return BackupInfo(
            path,
            str(header["gallery"]),
            str(header["key_id"]),
            str(header["made"]),
            int(header["head"]),
            str(header["anchor"]),
            int(rows["persons"]),
            int(rows["templates"]),
            path.stat().st_size,
        )
    except (KeyError, TypeError, ValueError):
        raise ProtectionError(f"the start of the backup {path} is damaged; use another backup") from None


@contextmanager
def unsealed(path: Path, key: KeyEncryptionKey, folder: Path) -> Iterator[tuple[BackupInfo, NamelessCopy]]:
    """The tables that a backup holds, in a file without a name on `folder`'s disk.

    ProtectionError where a bit of it was changed, or for another key.
    """
    claimed = describe_backup(path)
    if claimed.key_id != key.id:
        raise ProtectionError(
            f"the key {key.id} does not open the backup {path}, which was made under {claimed.key_id}; give that one"
        )
    with _unsealed(path, _file_key(key, claimed.gallery), folder) as copy:
        yield claimed, copy


@contextmanager
def _unsealed(path: Path, key: bytes, folder: Path, file: IO[bytes] | None = None) -> Iterator[NamelessCopy]:
    with closing(NamelessCopy(folder)) as copy:

        def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
            size = dtype.itemsize * math.prod(shape)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(copy.file.fileno(), 0, size)  # a full disk is an error here, later the end
            else:
                os.ftruncate(copy.file.fileno(), size)
            return np.memmap(copy.file, dtype, "r+", shape=shape)

        read_sealed(path, key, allocate, file)
        yield copy


@contextmanager
def opened_copy(copy: NamelessCopy) -> Iterator[Connection]:
    """A connection to the tables of an unsealed backup."""
    with copy.friendly(), copy.reading() as connection, connection.begin():
        yield connection


def copy_tables(
    source: Connection,
    target: Connection,
    progress: Progress | None = None,
    *,
    without: Collection[int] = (),
    changed: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, int]:
    """Insert every row of `source` into the empty tables of `target`; how many, a table.

    Args:
        without: ids of persons who are left out, with all that belongs to them.
        changed: by table, values that replace those of every row.
    """
    total, done, rows = sum(_counts(source).values()), 0, {}
    for table in metadata.sorted_tables:
        rows[table.name] = 0
        owner = "id" if table is persons else _owner(table)
        query = select(table).order_by(*table.primary_key.columns)
        replaced = (changed or {}).get(table.name, {})
        for page in source.execute(query.execution_options(yield_per=AT_ONCE)).mappings().partitions():
            kept = [{**row, **replaced} for row in page if owner is None or row[owner] not in without]
            if kept:
                target.execute(insert(table), kept)
            rows[table.name] += len(kept)
            done += len(page)
            if progress is not None:
                progress(done, total)
    return rows


def _copy(store: Store, copy: NamelessCopy, progress: Progress | None) -> dict[str, Any]:
    """Copy the tables into `copy`; the header of the backup."""
    header: dict[str, Any] = {"format": FORMAT, "tables": migrate.HEAD, "made": clock.now()}
    with copy.friendly(), copy.writing() as connection, connection.begin():
        migrate.migrate(connection)
        with store.reading() as source:
            header.update(_about(source), rows=copy_tables(source, connection, progress))
    return header


def _about(connection: Connection) -> dict[str, Any]:
    row = connection.execute(select(gallery)).one()
    return {"gallery": row.uuid, "key_id": row.key_id, "head": row.head, "anchor": _anchor(connection)}


def _anchor(connection: Connection) -> str:
    return anchor(*connection.execute(select(gallery.c.audit_seq, gallery.c.audit_mac)).one())


def _counts(connection: Connection) -> dict[str, int]:
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    }


def _owner(table: Table) -> str | None:
    """The column that says to which person a row belongs and dies with them; the change sequence outlives people."""
    return next((c.name for c in table.columns if any(key.column.table is persons for key in c.foreign_keys)), None)


def _file_key(key: KeyEncryptionKey, gallery_uuid: str) -> bytes:
    return key.for_file(f"backup of gallery {gallery_uuid}".encode())
