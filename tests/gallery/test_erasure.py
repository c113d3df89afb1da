"""Forgetting takes the bytes out of every file, not only the rows out of the tables."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from vultus.gallery import Gallery, Store
from vultus.gallery.old_store import Sample


def traces(folder: Path, rows: np.ndarray) -> list[str]:
    """Files that hold any 16 bytes in a row of any of `rows`, searched at every 16th byte."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    blobs = [row.astype("<f4").tobytes() for row in rows]
    pieces = [blob[at : at + 16] for blob in blobs for at in range(0, len(blob) - 15, 16)]
    return [name for name, content in files.items() if any(piece in content for piece in pieces)]


def test_forgotten_bytes_leave_database_and_log(tmp_path, recognizer, unit_rows):
    alice, bob = unit_rows(4), unit_rows(4, seed=1)
    with Gallery.open(tmp_path / "people.db", model=recognizer) as gallery:
        gallery.enroll_embeddings("alice", alice, recognizer.contract.id)
        gallery.enroll_embeddings("bob", bob, recognizer.contract.id)
        assert traces(tmp_path, alice), "the search finds what is there"
        assert gallery.forget("alice") == 4
        assert traces(tmp_path, alice) == []
        assert traces(tmp_path, bob) == ["people.db"]
        content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"alice" not in content
        assert b"bob" in content
    assert traces(tmp_path, alice) == []


def test_no_older_copy_stays_in_a_page(new_store, tmp_path):
    # With secure_delete alone, this sequence leaves traces of 2 templates: balancing the tree left older copies
    # of their rows in the unused part of a page. Rewriting the file takes them out.
    store, chance, numbers = new_store(), random.Random(5), np.random.default_rng(5)
    living: list[str] = []
    dead: list[str] = []
    templates: dict[str, np.ndarray] = {}
    for _ in range(12):
        for _ in range(12):
            rows = numbers.normal(size=(chance.choice([1, 1, 2, 5]), 32)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            name = chance.randbytes(20).hex()
            store.add(name, [Sample(row) for row in rows])
            templates[name] = rows
            living.append(name)
        gone = [living.pop(chance.randrange(len(living))) for _ in range(8)]
        store.remove(gone)
        dead += gone
    assert traces(tmp_path, np.concatenate([templates[name] for name in dead])) == []
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(name[:16].encode() in content for name in dead)


def test_a_reader_in_the_way_delays_the_erasure_until_the_next_opening(new_store, tmp_path, unit_rows):
    path = new_store().path
    store, rows = Store.open(path, busy_timeout=0.05), unit_rows(2)
    store.add("alice", [Sample(row) for row in rows])
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM templates").fetchone()
        removed, clean = store.remove(["alice"])
        assert (removed, clean) == (2, False)
        assert store.persons() == []
        assert traces(tmp_path, rows), "still in the log that the reader needs"
    Store.open(path).close()
    assert traces(tmp_path, rows) == []


def test_no_path_and_no_picture_is_stored(tmp_path, recognizer, picture):
    from PIL import Image

    photograph = tmp_path / "holiday-in-rome.png"
    Image.fromarray(picture(1)).save(photograph)
    gallery = Gallery.open(tmp_path / "db" if (tmp_path / "db").mkdir() else tmp_path / "db" / "p.db", model=recognizer)
    gallery.enroll("alice", photograph)
    gallery.close()
    content = (tmp_path / "db" / "p.db").read_bytes()
    assert b"holiday" not in content
    assert picture(1).tobytes()[:64] not in content
