"""Arrays in one encrypted file: index snapshots and backups."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vultus.files import writing
from vultus.gallery.protection.canonical import canonical
from vultus.gallery.protection.derive import check_key, derive
from vultus.gallery.protection.errors import ProtectionError

MAGIC = b"vultus sealed 1\n"
CHUNK = 4 << 20
"""Bytes of an array that are sealed together."""
MOST_HEADER = 16 << 20
"""Bytes; a longer header is no header."""
TAG = 16
SALT = 32
PREFIX = 7
CHUNKS_READ = range(64 << 10, (64 << 20) + 1)
"""Chunk sizes that are read."""
THREADS = 2


class SealedFileError(ProtectionError):
    """A sealed file that is missing, changed, cut, or of another key."""


def write_sealed(path: Path, key: bytes, header: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Write arrays encrypted, whole or not at all, readable by the owner only (mode 0600).

    `key`: 32 bytes. `header`: what JSON can hold; it is authenticated but not encrypted, and anybody can read it beside
    the arrays' shapes and dtypes. What tells this file from others of the same key (collection, position) belongs in
    the header, and whoever reads the file compares it: a file put in another's place opens.

    Layout: magic; the header's length (4 bytes) and JSON; a salt (32) and a nonce prefix (7); then each array in chunks
    of 4 MiB of AES-256-GCM, each followed by its tag (16). The file has a key of its own: HKDF-SHA256 of `key`
    with the salt and the digest of the header. Nonces are the prefix, the chunk's number (4) and whether it is the
    last (1): STREAM, Hoang, Reyhanitabar, Rogaway and Vizar (2015). `SealedFileError` if it cannot be written, for
    example because the disk is full; the file that was there before stays.
    """
    with writing(path, mode=0o600, error=SealedFileError) as file:
        seal_into(file, key, header, arrays)


def seal_into(file: IO[bytes], key: bytes, header: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """What `write_sealed` writes, into a file that is open for it."""
    check_key(key, "the key of a sealed file")
    whole = [np.ascontiguousarray(array) if array.ndim else array.reshape(()) for array in arrays]
    for array in whole:
        if array.dtype.kind not in "biuf":
            raise TypeError(f"arrays of {array.dtype} cannot be sealed: numbers only")
    described = {
        "header": header,
        "arrays": [[array.dtype.str, list(array.shape)] for array in whole],
        "chunk": CHUNK,
    }
    text = canonical(described)
    if len(text) > MOST_HEADER:
        raise ValueError(f"a header of {len(text)} bytes; at most {MOST_HEADER}")
    start = MAGIC + struct.pack("<I", len(text)) + text + os.urandom(SALT) + os.urandom(PREFIX)
    file.write(start)
    _write_chunks(file, _Chunks(key, start), whole)
    file.flush()


def read_sealed(
    path: Path,
    key: bytes,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray] = np.empty,
    file: IO[bytes] | None = None,
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header and arrays of a sealed file. `SealedFileError` if a bit of it was changed, or the key is another.

    Args:
        allocate: (shape, dtype) → where an array comes to lie, for those that shall not be held in memory.
        file: it, where it is open already, as before it has its name.
    """
    check_key(key, "the key of a sealed file")
    with _opened(path) if file is None else contextlib.nullcontext(file) as file:
        file.seek(0)
        described, start = _read_start(file, path)
        specs, chunk = described["arrays"], described["chunk"]
        sizes = [dtype.itemsize * math.prod(shape) for dtype, shape in specs]
        count = max(1, sum(-(-size // chunk) for size in sizes))
        if os.fstat(file.fileno()).st_size != len(start) + sum(sizes) + count * TAG:  # before anything is allocated
            raise SealedFileError(f"{path} was cut, or its header changed; make it anew or restore a backup")
        places = _places(sizes, chunk)
        try:
            arrays = [allocate(shape, dtype) for dtype, shape in specs]
        except (ValueError, MemoryError):
            raise SealedFileError(f"{path} holds {sum(sizes):,} bytes, more than there is memory; free some") from None
        views = [_bytes(array) for array in arrays]
        chunks = _Chunks(key, start)

        def work(first: int) -> bool:
            """Every THREADS-th chunk: read into a buffer that stays in the cache, and decrypted into its place."""
            buffer = bytearray(min(chunk, sum(sizes)) + TAG)
            for number in range(first, len(places), THREADS):
                array, offset, length = places[number]
                room = memoryview(buffer)[: length + TAG]
                try:
                    got = os.preadv(file.fileno(), [room], at[number])
                except OSError as error:
                    raise SealedFileError(f"cannot read {path}: {error.strerror}; restore a backup") from None
                if got != len(room):
                    return False
                into = views[array][offset : offset + length] if length else bytearray()
                try:
                    chunks.cipher.decrypt_into(chunks.nonce(number, len(places)), room, chunks.digest, into)
                except InvalidTag:
                    return False
            return True

        at = [len(start)]
        for _, _, length in places:
            at.append(at[-1] + length + TAG)
        with ThreadPoolExecutor(THREADS) as pool:
            if not all(list(pool.map(work, range(THREADS)))):
                raise SealedFileError(f"{path} was changed, or another key sealed it; make it anew or restore a backup")
    return described["header"], arrays


def read_header(path: Path) -> dict[str, Any]:
    """The header alone, without a key and NOT authenticated: to say what a file claims to be, never to rely on."""
    with _opened(path) as file:
        return _read_start(file, path)[0]["header"]


class _Chunks:
    """Cipher and nonces of one file."""

    def __init__(self, key: bytes, start: bytes) -> None:
        self.digest = hashlib.sha256(start).digest()
        salt = start[-SALT - PREFIX : -PREFIX]
        self.prefix = start[-PREFIX:]
        self.cipher = AESGCM(derive(key, b"vultus sealed file\n" + self.digest, salt=salt))

    def nonce(self, number: int, count: int) -> bytes:
        return self.prefix + struct.pack(">I?", number, number == count - 1)


def _places(sizes: Sequence[int], chunk: int) -> list[tuple[int, int, int]]:
    """(array, offset, length in bytes) of every chunk. At least one, if need be empty: then it proves the header."""
    places = [
        (array, offset, min(chunk, size - offset))
        for array, size in enumerate(sizes)
        for offset in range(0, size, chunk)
    ]
    if len(places) >= 1 << 32:
        raise SealedFileError("more chunks than a sealed file can have")
    return places or [(0, 0, 0)]


def _write_chunks(file: Any, chunks: _Chunks, arrays: Sequence[np.ndarray]) -> None:
    views = [_bytes(array) for array in arrays]
    places = _places([len(view) for view in views], CHUNK)
    buffer = memoryview(bytearray(CHUNK + TAG))
    for number, (array, offset, length) in enumerate(places):
        plain = views[array][offset : offset + length] if length else b""
        room = buffer[: length + TAG]
        chunks.cipher.encrypt_into(chunks.nonce(number, len(places)), plain, chunks.digest, room)
        file.write(room)


def _bytes(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise SealedFileError(f"cannot read {path}: {error.strerror}; name a sealed file") from None


def _read_start(file: IO[bytes], path: Path) -> tuple[dict[str, Any], bytes]:
    """The parsed header and everything up to the first chunk."""
    broken = SealedFileError(f"{path} is no sealed file, or its start is damaged; make it anew or restore a backup")
    start = file.read(len(MAGIC) + 4)
    if len(start) < len(MAGIC) + 4 or not start.startswith(MAGIC):
        raise broken
    length = struct.unpack("<I", start[-4:])[0]
    if length > MOST_HEADER:
        raise broken
    rest = file.read(length + SALT + PREFIX)
    if len(rest) < length + SALT + PREFIX:
        raise broken
    try:
        described = json.loads(rest[:length])
        specs = [(_dtype(name), tuple(_size(n) for n in shape)) for name, shape in described["arrays"]]
        if not isinstance(described["header"], dict) or _size(described["chunk"]) not in CHUNKS_READ:
            raise broken
    except (ValueError, TypeError, KeyError, RecursionError):
        raise broken from None
    return {**described, "arrays": specs}, start + rest


def _dtype(name: str) -> np.dtype:
    if not re.fullmatch(r"[<>|][biuf]\d{1,2}", name):  # NumPy reads more than names of numbers
        raise ValueError(name)
    return np.dtype(name)


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value
