"""The erasures of a gallery in a file of its own: what a restored backup, or a file put back, must forget again.

The file is a chain. Its first line names the gallery, each later one holds a receipt; each has a number, the digest of
the line before, and a signature with the key of the gallery's receipts, so that the last line vouches for all. What was
cut off at the end of a line cannot be seen in the file alone: the database tells (`mend`, `refusals`, `restore`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from vultus.errors import FileError, VultusError
from vultus.files import open_file, save_atomically
from vultus.gallery.protection import ProtectionError, Receipt, SigningKey, is_signed
from vultus.gallery.protection.canonical import spell
from vultus.gallery.store import Store, clock
from vultus.gallery.store.persons import AT_ONCE
from vultus.gallery.store.schema import erasures, persons

log = logging.getLogger(__name__)

NAME = "erasures.jsonl"
FORMAT = "vultus erasure ledger 1"
_SIGNED = b"vultus erasure ledger line\n"
"""What every signed text begins with, so that no signature of a line is one of a receipt."""
_HEADER = {"format", "gallery", "seq", "signature"}
_RECORD = {"previous", "receipt", "seq", "signature"}
_LAST = 64 << 10
"""Bytes in which the last line is looked for; a line has at most 8,000."""


class LedgerDamaged(ProtectionError):
    """A ledger that is empty, was cut, changed or reordered, or is no ledger. Fields: path, line (from 1)."""

    code = "ledger_damaged"


@dataclass(frozen=True)
class Ledger:
    """What a whole ledger holds."""

    receipts: tuple[Receipt, ...]
    """In the order of the lines."""
    lines: tuple[bytes, ...]
    end: int
    """Bytes up to where the next line goes; a line that a crash tore lies behind."""

    @property
    def people(self) -> set[str]:
        """The uuids of those who were erased."""
        return {receipt.person_uuid for receipt in self.receipts}


def ledger_path(store: Store) -> Path:
    """It names nobody, and is to be kept beside backups: it is no part of the database."""
    return store.state / NAME


def read(path: Path, gallery: str, public_key: str) -> Ledger:
    """The ledger of the gallery with this uuid and public key.

    LedgerDamaged unless it is whole, but for a last line that a crash tore; FileError where it cannot be read.
    """
    with open_file(path, "the ledger") as file:
        try:
            content = file.read()
        except OSError as error:
            raise FileError(f"the ledger {path} cannot be read ({error.strerror}); check it", path=path) from None
    return _parsed(content, path, gallery, public_key)


def append(store: Store, receipts: Sequence[Receipt]) -> None:
    """Add receipts that the database has; when this returns they survive a power cut.

    VultusError, and no half line, where it cannot. A ledger that is missing or damaged is made good, see `mend`.
    """
    if not receipts:
        return
    path = ledger_path(store)
    try:
        with _locked(path) as handle:
            size = os.fstat(handle).st_size
            recent = os.pread(handle, _LAST, max(0, size - _LAST))
            last = recent.split(b"\n")[-2:]
            if len(last) < 2 or last[1] or not _is_signed(last[0], store.info.public_key):
                raise LedgerDamaged("the last line does not hold", path=path)
            # Whoever opened the gallery meanwhile may have added them from the database.
            fresh = [receipt for receipt in receipts if f'"person_uuid":"{receipt.person_uuid}"'.encode() not in recent]
            _write(handle, size, _lines_for(fresh, last[0], store.signing_key), path)
    except (LedgerDamaged, FileNotFoundError):
        mend(store)


def mend(store: Store) -> int:
    """Add the receipts that the database has and the file lacks, as after a crash in between; how many that were.

    A missing ledger is begun. A damaged one is kept beside under another name, and made anew from the database where
    that has as many receipts and all that can still be read; else LedgerDamaged. Another gallery's is kept beside, too.
    """
    path = ledger_path(store)
    if not path.exists():
        with store.reading() as connection:
            receipts = list(_stored(connection))
        return _begin(store, path, receipts)
    try:
        ledger = _of(store)
        with store.reading() as connection:
            if ledger.end == path.stat().st_size and known(connection) <= ledger.people:
                return 0
    except LedgerDamaged:
        pass
    with _locked(path) as handle:
        content = _content(handle)
        try:
            ledger = _parsed(content, path, store.info.uuid, store.info.public_key)
        except LedgerDamaged as error:
            return _make_anew(store, content, error)
        with store.reading() as connection:
            receipts = list(_stored(connection, ledger.people))
        _write(handle, ledger.end, _lines_for(receipts, ledger.lines[-1], store.signing_key), path)
    return len(receipts)


def set_aside(path: Path, why: str) -> Path:
    """Give a ledger that must not be used another name, which says why; it is evidence. The new path."""
    when = "".join(one for one in clock.now()[:19] if one.isalnum())
    aside = path.with_name(f"{path.stem}.{why}-{when}-{secrets.token_hex(2)}{path.suffix}")
    os.rename(path, aside)
    return aside


def refusals(store: Store) -> list[VultusError]:
    """What is wrong between the database and the ledger beside it, if anything; nothing where there is none.

    Codes: erased_returned (who was erased is there again), erasures_lost (the database forgot erasures),
    ledger_damaged.
    """
    try:
        told = _of(store).people  # before the database, which gets each receipt first
    except FileError as error:
        return [] if error.code == "no_file" else [error]
    except LedgerDamaged as error:
        return [error]
    with store.reading() as connection:
        lost = told - known(connection)
        back = len(returned(connection, lost))
    mend_it = "`vultus gallery erase --returned` erases them again and adds the receipts"
    fields = {"gallery": store.label}
    if back:
        who = f"{back:,} {'person' if back == 1 else 'people'} who had been erased"
        return [
            VultusError(f"gallery {store.label} holds {who}; {mend_it}", code="erased_returned", count=back, **fields)
        ]
    if lost:
        what = f"{len(lost):,} {'erasure' if len(lost) == 1 else 'erasures'} that the ledger beside it tells of"
        told_ = f"gallery {store.label} lacks {what}: an older state of it was put back; {mend_it}"
        return [VultusError(told_, code="erasures_lost", count=len(lost), **fields)]
    return []


def known(connection: Connection) -> set[str]:
    """The uuids of those whose erasure the database tells of."""
    return set(connection.execute(select(erasures.c.person_uuid)).scalars())


def returned(connection: Connection, lost: Collection[str] = ()) -> list[int]:
    """Ids of people who are there in spite of a receipt in the database, or who are among the uuids `lost`."""
    query = select(persons.c.id).join(erasures, erasures.c.person_uuid == persons.c.uuid)
    found = set(connection.execute(query).scalars())
    wanted = sorted(lost)
    for at in range(0, len(wanted), AT_ONCE):
        query = select(persons.c.id).where(persons.c.uuid.in_(wanted[at : at + AT_ONCE]))
        found |= set(connection.execute(query).scalars())
    return sorted(found)


def stored(connection: Connection, uuids: Sequence[str]) -> dict[str, Receipt]:
    """The receipts in the database of the people of these uuids, by uuid."""
    found: dict[str, Receipt] = {}
    for at in range(0, len(uuids), AT_ONCE):
        query = select(erasures).where(erasures.c.person_uuid.in_(uuids[at : at + AT_ONCE]))
        found |= {row.person_uuid: Receipt.from_json(row.receipt) for row in connection.execute(query)}
    return found


def salvaged(store: Store) -> list[Receipt]:
    """The receipts of every line that holds by itself; of a whole ledger all. None where there is no file."""
    try:
        with open_file(ledger_path(store), "the ledger") as file:
            return _salvaged(file.read(), store)
    except FileError as error:
        if error.code == "no_file":
            return []
        raise


def renew(store: Store) -> None:
    """`mend`, also where the database cannot vouch for what a damaged ledger lost; it is kept beside."""
    try:
        mend(store)
    except LedgerDamaged as error:
        _replace(store, error)


def _of(store: Store) -> Ledger:
    return read(ledger_path(store), store.info.uuid, store.info.public_key)


def _parsed(content: bytes, path: Path, gallery: str, public_key: str) -> Ledger:
    *lines, rest = content.split(b"\n")
    if rest and _ends(rest):  # only the line's end is missing
        lines, rest = [*lines, rest], b""
    if not lines:
        raise _damaged(path, 1, "the file is empty, or cut")
    receipts, before = [], b""
    for number, line in enumerate(lines, 1):
        content_ = _object(line)
        if content_ is None:
            raise _damaged(path, number, "it is no line of a ledger")
        if number == 1:
            if content_.keys() != _HEADER or content_["format"] != FORMAT:
                raise _damaged(path, 1, "it does not begin a ledger")
            if content_["gallery"] != gallery:
                raise _damaged(path, 1, f"it does not name the gallery {gallery}")
        else:
            if content_.keys() != _RECORD or content_["previous"] != _digest(before):
                changed = number if _is_signed(before, public_key) else number - 1
                raise _damaged(path, changed, "it was changed, or others were taken out or put in")
            receipts.append(_receipt(content_["receipt"], path, number))
        if content_["seq"] != number - 1:
            raise _damaged(path, number, f"it is number {content_['seq']} of the ledger")
        before = line
    if not _is_signed(before, public_key):
        first = next(number for number, line in enumerate(lines, 1) if not _is_signed(line, public_key))
        raise _damaged(path, first, "it is not signed with the gallery's key")
    if rest and not _may_be_torn(rest, before):
        raise _damaged(path, len(lines) + 1, "it is no line of a ledger")
    return Ledger(tuple(receipts), tuple(lines), sum(len(line) + 1 for line in lines))


def _damaged(path: Path, number: int, why: str) -> LedgerDamaged:
    return LedgerDamaged(
        f"line {number} of the ledger {path} does not hold: {why}; use a whole copy of the ledger, or the gallery",
        path=path,
        line=number,
    )


def _receipt(content: Any, path: Path, number: int) -> Receipt:
    try:
        return Receipt.from_json(spell(content))
    except (ProtectionError, ValueError):
        raise _damaged(path, number, "it holds no receipt") from None


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line in its one spelling; None for anything else."""
    try:
        content = json.loads(line)
        return content if isinstance(content, dict) and spell(content) == line else None
    except (ValueError, RecursionError):
        return None


def _ends(text: bytes) -> bool:
    """Whether a JSON value ends in it."""
    try:
        json.JSONDecoder().raw_decode(text.decode("ascii"))
        return True
    except (ValueError, RecursionError):
        return False


def _may_be_torn(rest: bytes, before: bytes) -> bool:
    """Whether a crash may have left `rest`, which is no whole JSON, of the line after `before`."""
    start = f'{{"previous":"{_digest(before)}","receipt":{{"audit_seq":'.encode()
    return rest[: len(start)] == start[: len(rest)]


def _is_signed(line: bytes, public_key: str) -> bool:
    content = _object(line)
    signature = content.pop("signature", None) if content else None
    return isinstance(signature, str) and is_signed(public_key, _SIGNED + spell(content), signature)


def _salvaged(content: bytes, store: Store) -> list[Receipt]:
    found = []
    for line in content.split(b"\n"):
        parsed = _object(line) or {}
        if parsed.keys() == _RECORD and _is_signed(line, store.info.public_key):
            receipt = Receipt.from_json(spell(parsed["receipt"]))
            if receipt.gallery_id == store.info.uuid:
                found.append(receipt)
    return found


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _signed(content: dict[str, Any], key: SigningKey) -> bytes:
    return spell({**content, "signature": key.sign(_SIGNED + spell(content))})


def _first_line(store: Store) -> bytes:
    return _signed({"format": FORMAT, "gallery": store.info.uuid, "seq": 0}, store.signing_key)


def _lines_for(receipts: Iterable[Receipt], before: bytes, key: SigningKey) -> list[bytes]:
    lines, number = [], json.loads(before)["seq"]
    for receipt in receipts:
        number += 1
        before = _signed({"previous": _digest(before), "receipt": asdict(receipt), "seq": number}, key)
        lines.append(before)
    return lines


def _begin(store: Store, path: Path, receipts: Sequence[Receipt]) -> int:
    """Write a new ledger; another process that was quicker is let be, and caught up with."""
    first = _first_line(store)
    lines = [first, *_lines_for(receipts, first, store.signing_key)]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        save_atomically(b"".join(line + b"\n" for line in lines), path, mode=0o600, overwrite=False)
    except OSError as error:
        raise _unwritable(path, error) from None
    except FileError as error:
        if error.code != "exists":
            raise
        return mend(store)
    return len(receipts)


def _make_anew(store: Store, content: bytes, error: LedgerDamaged) -> int:
    readable = {receipt.person_uuid for receipt in _salvaged(content, store)}
    with store.reading() as connection:
        told = known(connection)
    if _is_anothers(content, store):  # a gallery of this name was here before
        return _replace(store, error, "other-gallery")
    if not readable <= told or len(content.split(b"\n")) - 2 > len(told):
        raise error
    return _replace(store, error)


def _is_anothers(content: bytes, store: Store) -> bool:
    """Whether the file begins as another gallery's ledger, and no line of it is of this one."""
    lines = content.split(b"\n")
    first = _object(lines[0]) or {}
    return (
        first.get("format") == FORMAT
        and first.get("gallery") != store.info.uuid
        and not any(_is_signed(line, store.info.public_key) for line in lines)
    )


def _replace(store: Store, error: LedgerDamaged, why: str = "damaged") -> int:
    path = ledger_path(store)
    with store.reading() as connection:
        receipts = list(_stored(connection))
    aside = set_aside(path, why)
    log.warning("%s; it was made anew from the database, and what was there is %s", error, aside.name)
    return _begin(store, path, receipts)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, open for reading and appending; other processes wait. FileNotFoundError where there is none."""
    import fcntl

    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise _unwritable(path, error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, path):
                yield handle
                return
        finally:
            os.close(handle)  # and with it the lock


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file still has this name: another process may have set it aside meanwhile."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _content(handle: int) -> bytes:
    with open(os.dup(handle), "rb") as file:
        file.seek(0)
        return file.read()


def _write(handle: int, end: int, lines: Sequence[bytes], path: Path) -> None:
    """Add lines at `end`; what lies behind it, a line that a crash tore, goes."""
    try:
        rest = memoryview(b"".join(line + b"\n" for line in lines))
        if os.pread(handle, 1, end - 1) != b"\n":  # the last line's end is missing
            end, rest = end - 1, memoryview(b"\n" + rest)
        os.ftruncate(handle, end)
        try:
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, end)
            raise
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> FileError:
    told = f"cannot write the ledger {path}: {error.strerror}; make room, or its folder writable"
    return FileError(told, code="unwritable", path=path)


def _stored(connection: Connection, without: Collection[str] = ()) -> Iterator[Receipt]:
    """The receipts in the database, but for those of the people `without`."""
    query = select(erasures.c.person_uuid, erasures.c.receipt).order_by(erasures.c.at, erasures.c.person_uuid)
    for row in connection.execute(query):
        if row.person_uuid not in without:
            yield Receipt.from_json(row.receipt)
