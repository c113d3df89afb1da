"""The erasures of a gallery in a file of its own: what a restored backup must forget again."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, select

from vultus.errors import VultusError
from vultus.gallery.protection import ProtectionError, Receipt
from vultus.gallery.store import Store
from vultus.gallery.store.persons import AT_ONCE
from vultus.gallery.store.schema import erasures, persons

log = logging.getLogger(__name__)

NAME = "erasures.jsonl"


def ledger_path(store: Store) -> Path:
    """One receipt a line. It names nobody, and is to be kept beside backups: it is no part of the database."""
    return store.state / NAME


def append(store: Store, receipts: Sequence[Receipt]) -> None:
    """Add receipts; when this returns they survive a power cut. VultusError, and no half line, where it cannot."""
    if receipts:
        with _locked(ledger_path(store)) as handle:
            _append(handle, receipts, ledger_path(store))


def catch_up(store: Store) -> int:
    """Add what the database tells of and the file does not, as after a crash in between; how many that were.

    A file that cannot be used is a warning in the log, not an error: whoever only reads can do without.
    """
    path = ledger_path(store)
    with store.reading() as connection:
        told = set(connection.execute(select(erasures.c.person_uuid)).scalars())
        try:
            if not told or told <= _known(path):
                return 0
            with _locked(path) as handle:
                receipts = list(_stored(connection, sorted(told - _known(path))))
                _append(handle, receipts, path)
        except VultusError as error:
            log.warning("the ledger of erasures is incomplete: %s", error)
            return 0
    return len(receipts)


def read(path: Path, public_key: str | None = None) -> list[Receipt]:
    """The receipts in a ledger file, one a person; none where there is no file.

    Lines that were torn by a crash are passed over: the receipt follows them again (`catch_up`). With the gallery's
    public key, ProtectionError for a receipt that is not signed with it.
    """
    found: dict[str, Receipt] = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            receipt = Receipt.from_json(line)
        except ProtectionError:
            log.warning("line %d of the ledger %s is no receipt; it is passed over", number, path.name)
            continue
        if public_key is not None:
            try:
                receipt.verify(public_key)
            except ProtectionError as error:
                raise ProtectionError(f"line {number} of the ledger {path}: {error}") from None
        found[receipt.person_uuid] = receipt
    return list(found.values())


def missing_from(store: Store, receipts: Iterable[Receipt]) -> list[str]:
    """The uuids of people who were erased by these receipts and are in the database: a backup brought them back."""
    wanted = sorted({receipt.person_uuid for receipt in receipts if receipt.gallery_id == store.info.uuid})
    found: list[str] = []
    with store.reading() as connection:
        for at in range(0, len(wanted), AT_ONCE):
            query = select(persons.c.uuid).where(persons.c.uuid.in_(wanted[at : at + AT_ONCE]))
            found += connection.execute(query).scalars()
    return found


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, open for appending; other processes wait."""
    import fcntl

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise VultusError(f"cannot write the ledger {path}: {error.strerror}; make its folder writable") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)  # and with it the lock


def _append(handle: int, receipts: Sequence[Receipt], path: Path) -> None:
    size = os.fstat(handle).st_size
    text = "".join(f"{receipt.to_json()}\n" for receipt in receipts).encode()
    if size and os.pread(handle, 1, size - 1) != b"\n":
        text = b"\n" + text  # a crash tore the last line
    try:
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        os.ftruncate(handle, size)
        raise VultusError(f"cannot write the ledger {path}: {error.strerror}; make room") from None


def _stored(connection: Connection, uuids: Sequence[str]) -> Iterator[Receipt]:
    for at in range(0, len(uuids), AT_ONCE):
        query = select(erasures.c.receipt).where(erasures.c.person_uuid.in_(uuids[at : at + AT_ONCE]))
        for text in connection.execute(query.order_by(erasures.c.at, erasures.c.person_uuid)).scalars():
            yield Receipt.from_json(text)


def _known(path: Path) -> set[str]:
    return {receipt.person_uuid for receipt in read(path)}


def _lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise VultusError(f"cannot read the ledger {path}: {error.strerror}; check its permissions") from None
    return [line for line in content.split(b"\n") if line.strip()]
