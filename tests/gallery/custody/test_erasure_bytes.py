"""After an erasure no file holds a byte of the person: not sealed, not quantised, not in the log of the database.

Random enrolments, removals, snapshots and erasures, again and again. Before each erasure the very bytes that must go
are read from the database, and found in its files: the search would see them if they stayed.
"""

from __future__ import annotations

import hashlib
import io
import random
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from vultus.gallery.custody import ConsentGiven, erase, ledger, record_in
from vultus.gallery.index import SnapshotError, Table
from vultus.gallery.index.codes import Codes
from vultus.gallery.settings import Settings
from vultus.gallery.store import Sample, Store, collections, follow, persons, schema, templates

DIM = 512
ROUNDS = 20
ABOUT = {"collection": "staff"}


class Traces:
    """Bytes to be looked for, whole or in part: any 15 of them in a row are seen."""

    def __init__(self) -> None:
        self._words: dict[int, str] = {}
        self._texts: dict[bytes, str] = {}

    def add(self, name: str, content: bytes) -> None:
        if len(content) < 32:
            self._texts[content] = name
        self._words |= dict.fromkeys(np.frombuffer(content, "<u8", len(content) // 8).tolist(), name)

    @property
    def names(self) -> set[str]:
        return {*self._words.values(), *self._texts.values()}

    def update(self, others: Traces) -> None:
        self._words |= others._words
        self._texts |= others._texts

    def found_in(self, files: Iterable[Path]) -> dict[str, int]:
        """Kinds of traces, and how many pieces of each."""
        known = np.array(sorted(self._words), np.uint64)
        likely = np.zeros(1 << 24, bool)  # a quick first look at three of the eight bytes
        likely[known & 0xFFFFFF] = True
        found: dict[str, int] = {}
        for path in files:
            try:
                content = path.read_bytes() + bytes(8)
            except FileNotFoundError:  # a server deletes files when it likes
                continue
            for text, name in self._texts.items():
                if text in content:
                    found[name] = found.get(name, 0) + content.count(text)
            for shift in range(8):
                words = np.frombuffer(content, "<u8", max(0, (len(content) - shift) // 8), shift)
                words = words[likely[words & 0xFFFFFF]]
                at = np.searchsorted(known, words).clip(max=len(known) - 1)
                for word in words[known[at] == words].tolist():
                    found[self._words[word]] = found.get(self._words[word], 0) + 1
        return found


def embedding_traces(traces: Traces, row: np.ndarray, kind: str) -> None:
    """What an index, a cache or a careless log might hold of a (D,) float32 row."""
    for dtype in ("<f4", "<f2", "<f8", ">f4"):
        traces.add(f"{kind} {dtype}", row.astype(dtype).tobytes())
    for scale, name in ((127, "int8"), (127 / np.abs(row).max(), "int8 scaled")):
        eight = np.round(row * scale).astype(np.int8)
        traces.add(f"{kind} {name}", eight.tobytes())
        traces.add(f"{kind} {name}, unsigned", (eight.astype(np.int16) + 128).astype(np.uint8).tobytes())
    four = np.clip(np.round(row * 7.5 / np.abs(row).max() + 7.5), 0, 15).astype(np.uint8)
    traces.add(f"{kind} 4 bits", (four[::2] | four[1::2] << 4).tobytes())
    traces.add(f"{kind} codes", codes_of(row))


def codes_of(row: np.ndarray) -> bytes:
    """The index's codes of a (D,) row: what is not the same in those of another row."""
    mine, others = (Codes.of(one[None]).to_array() for one in (row, np.roll(row, 1)))
    whole = len(mine) // 8 * 8
    mine, others = (content[:whole].reshape(-1, 8) for content in (mine, others))
    return b"".join(word.tobytes() for word in mine[(mine != others).any(1)] if len(set(word.tolist())) > 4)


def picture() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.frombuffer(secrets.token_bytes(16 * 16 * 3), np.uint8).reshape(16, 16, 3)).save(out, "PNG")
    return out.getvalue()


class Crowd:
    """People who come and go, and what is known of each."""

    def __init__(self, place: str | Path, seed: int) -> None:
        self.random, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.store = Store.create(place)
        self.rows: dict[str, list[np.ndarray]] = {}
        self.crops: dict[str, list[bytes]] = {}
        with self.store.writing() as write:
            collections.create(self.store, write, "staff", "m", "c-1", DIM, Settings.parse({"purpose": "door"}))
        self.table = Table(DIM)

    @property
    def collection(self):
        with self.store.reading() as connection:
            return collections.get(self.store, connection, "staff")

    @property
    def snapshot(self) -> Path:
        return self.store.state / f"{self.collection.uuid}.index"

    def enrol(self) -> None:
        person_id, name, badge, basis, client = (f"{kind}-{secrets.token_hex(12)}" for kind in "inmbc")
        count = self.random.randint(1, 4)
        rows = self.rng.normal(size=(count, DIM)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        crops = [picture() for _ in rows]
        samples = [
            Sample(row, png, png, box=[1, 2, 3, 4], provenance={"note": badge})
            for row, png in zip(rows, crops, strict=True)
        ]
        store = self.store
        with store.writing() as write:
            bound = collections.get(store, write.connection, "staff")
            person, key = persons.add(store, write, bound, person_id, name, {"badge": badge})
            record_in(write, bound, person, key, ConsentGiven(basis, client))
            templates.add(write, bound, person, key, samples)
            values = {"collection_id": bound.id, "client_key": client, "person_id": person.id, "request": "0" * 64}
            write.insert(schema.writes, **values, result={"person": person_id}, at=write.now)
            write.audit("enrolled", bound.uuid, key.pseudonym, {"templates": count})
        self.rows[person_id] = list(rows)
        self.crops[person_id] = crops

    def known(self, person_id: str, traces: Traces) -> None:
        """Add what must never be in a file, not even while the person is enrolled."""
        for row in self.rows[person_id][:2]:
            embedding_traces(traces, row, "raw")
            embedding_traces(traces, self.collection.rotation.apply(row), "rotated")
        for png in self.crops[person_id]:
            traces.add("picture", png[64:-24])  # but for what all pictures share
            traces.add("plain digest", hashlib.sha256(png).hexdigest().encode())

    def stored(self, person_id: str, traces: Traces) -> None:
        """Add what the database holds of a person: as it is, sealed or not."""
        with self.store.reading() as connection:
            person = persons.require(self.store, connection, self.collection, person_id)
            for text in (person.external_id, person.name, person.metadata["badge"]):
                traces.add(f"plain text: {text[0]}", text.encode())
            for table, columns in (
                ("person_keys", ["sealed"]),
                ("templates", ["sealed", "source_digest"]),
                ("crops", ["sealed"]),
                ("consents", ["basis", "text_digest"]),
                ("writes", ["client_key"]),
            ):
                found = schema.metadata.tables[table]
                for row in connection.execute(select(found).where(found.c.person_id == person.id)):
                    for column in columns:
                        value = row._mapping[column]
                        traces.add(f"{table}.{column}", value if isinstance(value, bytes) else value.encode())
            row = connection.execute(select(schema.collections.c.sealed_snapshot_key)).scalar()
            if row is not None:
                traces.add("snapshot key", row)

    def some_writes(self) -> None:
        """Removals of single templates, new names, people seen: rows move about in the file."""
        for person_id in self.random.sample(sorted(self.rows), 4):
            with self.store.writing() as write:
                bound = collections.get(self.store, write.connection, "staff")
                person = persons.require(self.store, write.connection, bound, person_id)
                persons.seen(write, [person.id])
                infos = templates.of_person(write.connection, bound, person)
                if len(infos) > 1:
                    templates.remove(write, bound, person, infos[-1].id)
                    self.rows[person_id].pop()

    def follow(self) -> None:
        with self.store.reading() as connection:
            self.table.apply(follow(self.store, connection, self.collection, self.table.position))

    def save_snapshot(self) -> None:
        with self.store.writing() as write:
            key = collections.new_snapshot_key(self.store, write, self.collection)
        self.store.state.mkdir(parents=True, exist_ok=True)
        self.table.save(self.snapshot, key, ABOUT)

    def finds_everybody(self) -> bool:
        names = sorted(self.rows)
        probes = self.collection.rotation.apply(np.stack([self.rows[name][0] for name in names]))
        hits = self.table.view().search(probes, 1)
        with self.store.reading() as connection:
            known = persons.by_id(connection, [best.person_id for [best] in hits])
        return [known[best.person_id].external_id for [best] in hits] == names


def files_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def run_rounds(crowd: Crowd, files: Callable[[], list[Path]], rounds: int) -> int:
    """Erase people in `rounds` rounds and look for them, and for all erased before, in `files`; how many that were."""
    gone, erased = Traces(), 0
    for _ in range(40):
        crowd.enrol()
    for _ in range(rounds):
        for _ in range(crowd.random.randint(1, 4)):
            crowd.enrol()
        crowd.some_writes()
        crowd.follow()
        assert crowd.finds_everybody()
        if crowd.random.random() < 0.7:
            crowd.save_snapshot()
        chosen = crowd.random.sample(sorted(crowd.rows), crowd.random.randint(1, 3))
        everything, held = Traces(), Traces()
        for person_id in chosen:
            crowd.known(person_id, everything)
            crowd.stored(person_id, held)
        everything.update(held)
        gone.update(everything)
        before = set(everything.found_in(files()))
        assert before <= held.names, before  # nothing lies open, not even of those enrolled
        assert before >= {"person_keys.sealed", "templates.sealed", "crops.sealed", "templates.source_digest"}, before
        assert before >= {"plain text: i", "plain text: n", "plain text: m", "consents.basis", "writes.client_key"}
        key = crowd.collection.snapshot_key
        kept = crowd.snapshot.read_bytes() if crowd.snapshot.exists() else None
        done = erase(crowd.store, "staff", chosen, "a test")
        assert done.scrubbed and len(done.receipts) == len(chosen)
        erased += len(chosen)
        for person_id in chosen:
            del crowd.rows[person_id], crowd.crops[person_id]
        assert not crowd.snapshot.exists() and crowd.collection.snapshot_key is None
        if kept is not None and key is not None:  # a copy of the snapshot is of no use without the key that is gone
            copy = crowd.store.state / "copy"
            copy.write_bytes(kept)
            assert len(Table.load(copy, key, ABOUT).view()) > 0
            with pytest.raises(SnapshotError):
                Table.load(copy, secrets.token_bytes(32), ABOUT)
        assert gone.found_in(files()) == {}
        (crowd.store.state / "copy").unlink(missing_ok=True)
        crowd.follow()
        assert crowd.finds_everybody()
    assert len(ledger.read(ledger.ledger_path(crowd.store), crowd.store.info.public_key)) == erased
    return erased


def test_the_search_sees_every_form(tmp_path):
    """In each form a row is found, also where only a part of it is left at an odd place."""
    row = np.random.default_rng(1).normal(size=DIM).astype(np.float32)
    row /= np.linalg.norm(row)
    traces = Traces()
    embedding_traces(traces, row, "row")
    traces.add("short", b"a short text")
    for name, content in (
        ("row <f4", row.tobytes()[100:115]),
        ("row int8", np.round(row * 127).astype(np.int8).tobytes()[3:40]),
        ("row codes", Codes.of(row[None]).to_array().tobytes()),
        ("short", b"a short text"),
    ):
        (tmp_path / "file").write_bytes(b"\x55" * 1001 + content + b"\x55" * 7)
        assert name in traces.found_in([tmp_path / "file"])
    (tmp_path / "file").write_bytes(secrets.token_bytes(1 << 20) + bytes(1 << 16) + b"\xff" * (1 << 16))
    assert traces.found_in([tmp_path / "file"]) == {}


@pytest.mark.parametrize("rounds", [6, pytest.param(ROUNDS, marks=pytest.mark.slow)])
def test_sqlite_holds_no_byte_of_the_erased(tmp_path, rounds):
    crowd = Crowd(tmp_path / "people.db", seed=7)

    def files() -> list[Path]:
        found = files_below(tmp_path)
        assert {path.name for path in found} >= {"people.db", "people.db-wal", "people.db-shm"}
        return found

    assert run_rounds(crowd, files, rounds) >= rounds
    crowd.store.close()


@pytest.mark.parametrize("rounds", [6, pytest.param(ROUNDS, marks=pytest.mark.slow)])
def test_postgresql_holds_no_byte_of_the_erased_in_its_tables(postgresql, rounds):
    """Its write-ahead log does, for as long as the server keeps it: nothing in it opens without the key outside."""
    address = postgresql.fresh()
    crowd = Crowd(address, seed=8)
    [[number]] = postgresql.execute(address, "SELECT oid::int FROM pg_database WHERE datname = current_database()")
    data = postgresql.root / "data"

    def files() -> list[Path]:
        postgresql.execute(address, "ANALYZE")  # as the server does by itself: it keeps samples of what is in columns
        postgresql.execute(address, "CHECKPOINT")  # those that were rewritten are deleted, the others written
        return files_below(data / "base" / str(number), data / "global", crowd.store.state)

    try:
        assert run_rounds(crowd, files, rounds) >= rounds
    finally:
        crowd.store.close()
