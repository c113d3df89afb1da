"""An erased row leaves every file of a Milvus server, given settings that let it (docs/scaling.md)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow
import pytest

from vultus.errors import VultusError
from vultus.gallery.delta import Delta
from vultus.gallery.engines import MilvusEngine

from .people import People

DIM = 128
NONE = np.empty(0, np.int64)
PATIENCE_S = 180


@pytest.fixture
def token(monkeypatch) -> None:
    monkeypatch.setenv("VULTUS_MILVUS_TOKEN", "root:Milvus")  # the server's first password


def many(count: int, seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def inflated(raw: bytes) -> Iterator[bytes]:
    """Every zstd frame in a file: columns of Parquet, blocks of RocksDB."""
    at = raw.find(b"\x28\xb5\x2f\xfd")
    while at >= 0:
        out = b""
        try:
            with pyarrow.CompressedInputStream(pyarrow.BufferReader(raw[at:]), "zstd") as frame:
                while piece := frame.read(1 << 16):
                    out += piece
        except OSError:  # what follows the frame, or no frame at all
            pass
        yield out
        at = raw.find(b"\x28\xb5\x2f\xfd", at + 1)


def files_with(root: Path, row: np.ndarray) -> list[str]:
    """Files that hold eight consecutive numbers of a row as float32, plain or compressed."""
    needles = [row[at : at + 8].tobytes() for at in range(0, len(row), 8)]
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.is_relative_to(root / "bin"):
            continue
        try:
            raw = path.read_bytes()
        except FileNotFoundError:  # deleted meanwhile
            continue
        if any(needle in text for text in (raw, *inflated(raw)) for needle in needles):
            found.append(path.relative_to(root).as_posix())
    return found


def until_gone(root: Path, row: np.ndarray) -> None:
    end = time.monotonic() + PATIENCE_S
    while found := files_with(root, row):
        assert time.monotonic() < end, f"the erased row is still in {found}"
        time.sleep(1)


@pytest.mark.slow
def test_an_erased_row_leaves_every_file(forgetful, token) -> None:
    with ThreadPoolExecutor() as both:  # most of it is waiting
        list(both.map(lambda index: erases(forgetful, index), ["FLAT", "HNSW"]))


def erases(server, index: str) -> None:
    everyone = many(1500, seed=len(index))  # above 1024 rows a segment gets an index file
    ids = np.arange(1, 1501)
    engine = MilvusEngine(server.uri, f"erased_{index.lower()}", DIM, index=index)
    engine.apply(Delta(1, True, ids, ids, everyone, NONE, NONE))
    old, kept, fresh = everyone[700], everyone[300], many(1, seed=90 + len(index))[0]
    engine.compact()
    assert any("insert_log" in file for file in files_with(server.root, old))
    # One who is in a segment on disk, and one who has only just been enrolled.
    engine.apply(Delta(2, False, np.array([2000]), np.array([2000]), fresh[None], NONE, NONE))
    assert any("rocksmq" in file for file in files_with(server.root, fresh))
    engine.apply(Delta(3, False, NONE, NONE, everyone[:0], NONE, np.array([701, 2000])))
    assert 701 not in {row.template_id for row in engine.search(old[None], 3)[0]}
    engine.compact()
    until_gone(server.root, old)
    until_gone(server.root, fresh)
    assert files_with(server.root, kept)  # the search for bytes finds what is there
    assert engine.count() == 1499 and engine.position == 3
    engine.drop()
    until_gone(server.root, kept)
    engine.close()


@pytest.mark.slow
def test_an_erased_person_of_a_gallery_leaves_every_file(forgetful, token, tmp_path) -> None:
    people = People(tmp_path / "people.db", forgetful.uri)
    people.enrol(range(300), each=1)
    with people.follower(at_once=10_000) as follower:
        follower.catch_up()
        follower.compact()
        view = people.here()
        row = {part.person_ids[at]: part.rows[at] for part in view.parts for at in range(len(part))}
        gone, kept = row[people.person(100).id], row[people.person(200).id]
        assert files_with(forgetful.root, gone) and files_with(forgetful.root, kept)
        people.erase(100)
        follower.catch_up()
        follower.compact()
        until_gone(forgetful.root, gone)
        assert files_with(forgetful.root, kept)
        assert len(people.live.current(patience=0).view) == 299
        people.agrees()
        follower._opened().drop()
    people.live.close()
    people.store.close()


@pytest.mark.slow  # starts a second server
def test_a_wrong_password_is_one_line_without_it(forgetful, monkeypatch) -> None:
    monkeypatch.setenv("VULTUS_MILVUS_TOKEN", "root:hunter2")
    with pytest.raises(VultusError, match="refuses the credentials; set VULTUS_MILVUS_TOKEN") as refused:
        MilvusEngine(forgetful.uri, "x", DIM)
    assert "hunter2" not in str(refused.value) and "\n" not in str(refused.value)
    monkeypatch.delenv("VULTUS_MILVUS_TOKEN")
    with pytest.raises(VultusError, match="refuses the credentials"):
        MilvusEngine(forgetful.uri, "x", DIM)
