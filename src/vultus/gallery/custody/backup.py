"""A copy of a whole gallery in one sealed file, that restores to either database."""

from __future__ import annotations

import contextlib
import glob
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, func, insert, select

from vultus.errors import VultusError
from vultus.gallery.audit import anchor
from vultus.gallery.protection import KeyEncryptionKey, ProtectionError, read_header, read_sealed, write_sealed
from vultus.gallery.store import Store, clock, migrate
from vultus.gallery.store.schema import gallery, metadata, persons
from vultus.gallery.store.sqlite import SQLite

FORMAT = "vultus gallery backup 1"
AT_ONCE = 5_000
"""Rows that are held in memory; with a kept crop of 20 kB each they take 100 MB."""
LEFTOVER_SECONDS = 86_400.0
"""A working folder that nobody has touched for so long belongs to a process that was killed."""

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
    0600, only after it was read back, opened and counted. For that long an unsealed copy lies in a folder of mode 0700
    beside it, so there must be room for twice the database.

    Raises VultusError where `path` is taken and may not be overwritten, or cannot be written.
    """
    path = Path(path)
    if path.is_dir() or (path.exists() and not overwrite):
        raise VultusError(f"{path} is there already; choose another name, or say that it may be overwritten")
    with working_folder(path.parent, path.name) as folder:
        plain, sealed, check = folder / "copy.db", folder / "sealed", folder / "check.db"
        header = _copy(store, plain, progress)
        write_sealed(sealed, _file_key(store.key, store.info.uuid), header, [np.memmap(plain, np.uint8, "r")])
        plain.unlink()
        unseal(sealed, store.key, check)
        with opened_copy(check) as connection:
            if _counts(connection) != header["rows"] or _anchor(connection) != header["anchor"]:
                raise VultusError(f"the backup {path} does not hold what was written to it; check the disk, try again")
        _publish(sealed, path, overwrite)
    with store.writing() as write:
        write.audit("backup_made", None, None, {"head": header["head"], "anchor": header["anchor"]})
    return describe_backup(path)


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


def unseal(path: Path, key: KeyEncryptionKey, into: Path) -> BackupInfo:
    """Write the SQLite copy that a backup holds to `into`; ProtectionError where a bit of it was changed."""
    claimed = describe_backup(path)
    if claimed.key_id != key.id:
        raise ProtectionError(
            f"the key {key.id} does not open the backup {path}, which was made under {claimed.key_id}; give that one"
        )

    def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        size = dtype.itemsize * math.prod(shape)
        handle = os.open(into, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)  # a full disk is an error here, and the end of the process later
            else:
                os.ftruncate(handle, size)
        finally:
            os.close(handle)
        return np.memmap(into, dtype, "r+", shape=shape)

    read_sealed(path, _file_key(key, claimed.gallery), allocate)
    return claimed


@contextmanager
def opened_copy(path: Path) -> Iterator[Connection]:
    """A connection to the tables of an unsealed backup."""
    database = SQLite(path)
    try:
        if not database.exists():
            raise VultusError("the backup holds no gallery; use another backup")
        with database.friendly(), database.reading() as connection, connection.begin():
            yield connection
    finally:
        database.close()


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


@contextmanager
def working_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder of mode 0700 that is gone afterwards; those that killed processes left are deleted."""
    for leftover in parent.glob(f".{glob.escape(name)}-*.work"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover)
    try:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}-", suffix=".work"))
    except OSError as error:
        raise VultusError(f"cannot write to {parent}: {error.strerror}; choose another place") from None
    try:
        yield folder
    except OSError as error:
        raise VultusError(f"cannot write to {parent}: {error.strerror}; make room or choose another place") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(store: Store, plain: Path, progress: Progress | None) -> dict[str, Any]:
    """Copy the tables into the SQLite file `plain`; the header of the backup."""
    header: dict[str, Any] = {"format": FORMAT, "tables": migrate.HEAD, "made": clock.now()}
    copy = SQLite(plain)

    def fill(connection: Connection) -> None:
        migrate.migrate(connection)
        with store.reading() as source:
            header.update(_about(source), rows=copy_tables(source, connection, progress))

    try:
        copy.create(fill)
    finally:
        copy.close()
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


def _publish(made: Path, path: Path, overwrite: bool) -> None:
    """Give the finished file its name; without `overwrite` never that of another."""
    if overwrite:
        os.replace(made, path)
    else:
        try:
            os.link(made, path)
        except FileExistsError:
            raise VultusError(f"{path} is there already; choose another name") from None
        except OSError:  # a file system without hard links
            if path.exists():
                raise VultusError(f"{path} is there already; choose another name") from None
            os.rename(made, path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)  # the name, too, survives a power cut
    finally:
        os.close(handle)
