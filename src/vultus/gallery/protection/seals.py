"""A seal on every row of a database, and a tally of the seals: what nobody without the key can forge or play back."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vultus.gallery.protection.canonical import spell
from vultus.gallery.protection.derive import derive
from vultus.gallery.protection.envelope import open_with, seal_with
from vultus.gallery.protection.errors import ProtectionError
from vultus.gallery.protection.keys import KeyEncryptionKey

SEAL_BYTES = 16
"""Of HMAC-SHA256, which may be cut to half its length (RFC 2104, section 5)."""
_EXACT = 1 << 53
"""Whole numbers below this are the same as a float, an int, and PostgreSQL's numeric."""


class RowSeals:
    """Makes and checks the seals of one gallery's rows.

    A seal is an HMAC-SHA256 over the table's name and every column, ids and owner included. The key is derived from the
    key-encryption key, so whoever may only write to the database can change no row unseen.
    """

    def __init__(self, key_encryption_key: KeyEncryptionKey, gallery_id: str) -> None:
        self.key_id = key_encryption_key.id
        key = key_encryption_key.for_rows(gallery_id)
        self._bound = f"vultus gallery {gallery_id} tally".encode()
        self._key = derive(key, b"vultus rows: seal")
        self._weight = derive(key, b"vultus rows: weight")
        self._cipher = AESGCM(derive(key, b"vultus rows: tally"))

    def seal(self, table: str, row: Mapping[str, Any]) -> bytes:
        """16 bytes. `row`: every column but the seal itself; the same after any database gave it back."""
        content = {name: _stable(value) for name, value in row.items()}
        return hmac.digest(self._key, spell([table, content]), "sha256")[:SEAL_BYTES]

    def weight(self, table: str, seal: bytes) -> int:
        """What a row adds to the tally: 256 bits that nobody without the key knows."""
        return int.from_bytes(hmac.digest(self._weight, table.encode() + b"\0" + seal, "sha256"), "big")

    def close(self, tally: Tally) -> bytes:
        """The tally encrypted: its sums, seen again and again, would tell the weights."""
        return seal_with(self._cipher, tally.to_bytes(), self._bound)

    def open(self, sealed: bytes) -> Tally:
        """The tally that `close` encrypted. `ProtectionError` for another key or gallery, or a changed text."""
        plain = open_with(self._cipher, sealed, self._bound)
        if plain is None:
            raise ProtectionError(
                "the tally of rows does not open: it was changed; see `vultus gallery audit --verify`"
            )
        return Tally.from_bytes(plain)


class Tally:
    """How many rows each table has, and the sum of their weights modulo 2**256.

    A set hash in the manner of MSet-Add-Hash (Clarke et al., ASIACRYPT 2003): a row that was deleted, inserted or
    exchanged for an older copy of itself, seal and all, changes the sum. It costs an addition a row that is written.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()

    def add(self, table: str, weight: int) -> None:
        self.counts[table] += 1
        self.sums[table] = (self.sums[table] + weight) % (1 << 256)

    def remove(self, table: str, weight: int) -> None:
        self.counts[table] -= 1
        self.sums[table] = (self.sums[table] - weight) % (1 << 256)

    def to_bytes(self) -> bytes:
        return spell({table: [self.counts[table], f"{self.sums[table]:x}"] for table in self.counts})

    @classmethod
    def from_bytes(cls, content: bytes) -> Tally:
        made = cls()
        for table, (count, total) in json.loads(content).items():
            made.counts[table], made.sums[table] = count, int(total, 16)
        return made


def _stable(value: Any) -> Any:
    """One spelling of what a database may give back in several: PostgreSQL's JSON turns 1e16 into an int."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, bytes | memoryview | bytearray):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, int | float):
        whole = -_EXACT < value < _EXACT and value == int(value)
        return int(value) if whole else repr(float(value))
    if isinstance(value, Mapping):
        return {str(key): _stable(item) for key, item in value.items()}
    return [_stable(item) for item in value]
