"""Arrays in an encrypted file."""

from __future__ import annotations

import json
import os
import resource
import stat
import struct
from pathlib import Path

import numpy as np
import pytest

from vultus.gallery.protection import SealedFileError, read_header, read_sealed, sealed_file, write_sealed

KEY = bytes(range(32))
HEADER = {"collection": "a", "position": 7}
CHUNK = 64 << 10


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file, "CHUNK", CHUNK)


def arrays(seed: int = 0) -> list[np.ndarray]:
    """Of more than one chunk, of exactly two, of one, and empty."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(1000, 96)).astype(np.float32),
        rng.integers(0, 255, 2 * CHUNK).astype(np.uint8),
        np.arange(10),
        np.empty((0, 5)),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "index.sealed"
    write_sealed(path, KEY, HEADER, arrays())
    return path


def start_of(content: bytes) -> int:
    """Bytes before the first chunk."""
    at = len(sealed_file.MAGIC)
    return at + 4 + struct.unpack("<I", content[at : at + 4])[0] + sealed_file.SALT + sealed_file.PREFIX


def refused(path: Path, content: bytes, key: bytes = KEY) -> str:
    path.write_bytes(content)
    with pytest.raises(SealedFileError) as caught:
        read_sealed(path, key)
    return str(caught.value)


def same(ones: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(ones) == len(others) and all(
        one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
        for one, other in zip(ones, others)
    )


def test_header_and_arrays_come_back_and_the_file_is_the_owners_alone(path: Path) -> None:
    header, read = read_sealed(path, KEY)
    assert header == HEADER and same(read, arrays())
    assert all(array.flags.writeable for array in read)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "array",
    [
        np.float64(2.5) * np.ones(()),
        np.empty((3, 0), np.int8),
        np.arange(24, dtype=">i4").reshape(2, 3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(20)[::2],
        np.array([True, False]),
        np.arange(3, dtype=np.float16),
    ],
)
def test_any_shape_order_and_kind_of_number(tmp_path: Path, array: np.ndarray) -> None:
    write_sealed(tmp_path / "f", KEY, {}, [array])
    assert same(read_sealed(tmp_path / "f", KEY)[1], [array])


def test_no_arrays_are_a_file_too_and_its_header_is_proven(tmp_path: Path) -> None:
    write_sealed(tmp_path / "f", KEY, HEADER, [])
    assert read_sealed(tmp_path / "f", KEY) == (HEADER, [])
    content = (tmp_path / "f").read_bytes()
    refused(tmp_path / "f", content.replace(b'"position":7', b'"position":8'))


def test_memory_mapped_arrays_are_sealed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(os.urandom(3 * CHUNK + 5))
    mapped = np.memmap(tmp_path / "plain", np.uint8, "r")
    write_sealed(tmp_path / "f", KEY, {}, [mapped])
    assert read_sealed(tmp_path / "f", KEY)[1][0].tobytes() == (tmp_path / "plain").read_bytes()


def test_nothing_of_the_arrays_is_legible_and_no_two_files_are_alike(path: Path) -> None:
    first = path.read_bytes()
    for array in arrays()[:3]:
        assert array.tobytes()[:16] not in first
    write_sealed(path, KEY, HEADER, arrays())
    second = path.read_bytes()
    assert first[start_of(first) :] != second[start_of(second) :]
    assert len(first) == start_of(first) + sum(array.nbytes for array in arrays()) + (6 + 2 + 1) * sealed_file.TAG


def test_another_key_is_refused(path: Path) -> None:
    assert "another key" in refused(path, path.read_bytes(), key=bytes(32))


def test_a_changed_byte_anywhere_is_found(path: Path) -> None:
    content = path.read_bytes()
    begin = start_of(content)
    rng = np.random.default_rng(0)
    places = [*range(begin + 40), *rng.integers(begin, len(content), 200), *range(len(content) - 20, len(content))]
    for at in places:
        refused(path, content[:at] + bytes([content[at] ^ (1 << int(rng.integers(8)))]) + content[at + 1 :])
    path.write_bytes(content)
    assert same(read_sealed(path, KEY)[1], arrays())


def test_cuts_and_additions_are_found(path: Path) -> None:
    content = path.read_bytes()
    begin, piece = start_of(content), CHUNK + sealed_file.TAG
    for end in (0, 1, 15, 16, 20, begin - 1, begin, begin + piece, len(content) - piece, len(content) - 1):
        refused(path, content[:end])
    refused(path, content + b"\0")
    refused(path, content + content[begin : begin + piece])


def test_a_cut_with_a_header_to_match_is_found(path: Path) -> None:
    """The last chunk is marked, and the header is part of what every chunk is bound to."""
    content = path.read_bytes()
    begin, at = start_of(content), len(sealed_file.MAGIC)
    described = json.loads(content[at + 4 : begin - sealed_file.SALT - sealed_file.PREFIX])
    described["arrays"] = [["|u1", [CHUNK]]]
    text = json.dumps(described).encode()
    start = sealed_file.MAGIC + struct.pack("<I", len(text)) + text
    start += content[begin - sealed_file.SALT - sealed_file.PREFIX : begin]
    assert "changed" in refused(path, start + content[begin : begin + CHUNK + sealed_file.TAG])


def test_chunks_in_another_order_or_from_another_file_are_found(path: Path) -> None:
    content = path.read_bytes()
    write_sealed(path, KEY, HEADER, arrays())
    other, begin, piece = path.read_bytes(), start_of(content), CHUNK + sealed_file.TAG
    first, second = content[begin : begin + piece], content[begin + piece : begin + 2 * piece]
    refused(path, content[:begin] + second + first + content[begin + 2 * piece :])
    refused(path, content[:begin] + second + second + content[begin + 2 * piece :])
    refused(path, other[:begin] + first + other[begin + piece :])
    refused(path, other[:begin] + content[begin:])


@pytest.mark.parametrize(
    "described",
    [
        {"arrays": [["<f4", [1 << 40, 1 << 40]]]},
        {"arrays": [["<f4", [1 << 62, 1 << 62, 0]]]},
        {"arrays": [["<f4", [-1]]]},
        {"arrays": [["<f4", [True]]]},
        {"arrays": [["|O", [3]]]},
        {"arrays": [["no dtype", [3]]]},
        {"arrays": [[",f4", [3]]]},
        {"arrays": [["<f4,<f4", [3]]]},
        {"arrays": [["<f3", [3]]]},
        {"arrays": [[None, [3]]]},
        {"arrays": [["<f4"]]},
        {"arrays": 3},
        {"chunk": 1},
        {"chunk": 0},
        {"chunk": 1 << 40},
        {"chunk": None},
        {"header": []},
        None,
    ],
)
def test_a_forged_header_is_refused_before_memory_is_taken(path: Path, described: dict | None) -> None:
    whole = {"arrays": [["<f4", [3]]], "chunk": CHUNK, "header": {}}
    text = json.dumps({**whole, **described} if described else [1]).encode()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, sealed_file.MAGIC + struct.pack("<I", len(text)) + text + bytes(500))
    refused(path, sealed_file.MAGIC + struct.pack("<I", 0xFFFFFFFF) + text + bytes(500))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000  # KiB


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SealedFileError, match="No such file"):
        read_sealed(tmp_path / "none", KEY)
    (tmp_path / "f").write_bytes(b"SQLite format 3\0" * 100)
    with pytest.raises(SealedFileError, match="no sealed file"):
        read_sealed(tmp_path / "f", KEY)
    with pytest.raises(SealedFileError, match="directory"):
        read_sealed(tmp_path, KEY)


def test_the_header_can_be_looked_at_without_a_key(path: Path) -> None:
    assert read_header(path) == HEADER


def test_a_write_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    """The limit on the size of a file stands for a full disk."""
    content = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(SealedFileError, match="File too large; make room"):
            write_sealed(path, KEY, HEADER, arrays(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]
    with pytest.raises(TypeError, match="numbers only"):
        write_sealed(path, KEY, HEADER, [np.array([None])])
    assert path.read_bytes() == content
