"""200 random tamperings with the database file itself: verification finds every one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.gallery.custody.erase import erase
from vultus.gallery.settings import Settings
from vultus.gallery.store import Sample, Store, collections, persons, templates
from vultus.gallery.store.log import log_anchor
from vultus.gallery.store.verification import verify_gallery

ROUNDS = int(os.environ.get("VULTUS_TAMPER_ROUNDS", "200"))
ACTIONS = 300
DIM = 4
COLUMNS = ("seq", "at", "kind", "actor", "collection", "subject", "details", "previous", "mac")


def act(store: Store, rng: np.random.Generator, number: int) -> None:
    """One thing that is logged: an enrolment, a decision, an erasure, a change of settings."""
    with store.writing() as write:
        bound = collections.get(store, write.connection, "default")
        kind = rng.choice(["enrolled", "matched", "settings"], p=[0.4, 0.4, 0.2])
        if kind == "enrolled":
            person, key = persons.add(store, write, bound, f"person-{number}")
            row = rng.standard_normal(DIM).astype(np.float32)
            templates.add(write, bound, person, key, [Sample(row / np.linalg.norm(row))])
            write.audit("enrolled", bound.uuid, key.pseudonym, {"templates": 1})
        elif kind == "matched":
            write.audit("matched", bound.uuid, rng.bytes(16).hex(), {"score": float(rng.random()), "fpir": 0.001})
        else:
            collections.set_settings(write, bound, Settings.parse({"max_templates": int(rng.integers(1, 100))}))


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Path, str]]:
    """A store with hundreds of entries, a copy of its file from half-way, and the anchor of its end."""
    folder = tmp_path_factory.mktemp("tampering")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("VULTUS_ACTOR", "ann")
        store = Store.create(folder / "people.db")
        rng = np.random.default_rng(6)
        with store.writing() as write:
            collections.create(store, write, "default", "m", "contract", DIM, Settings.parse({}))
        for number in range(ACTIONS // 2):
            act(store, rng, number)
        checkpoint(folder / "people.db")
        shutil.copy(folder / "people.db", folder / "earlier.db")
        store.actor = "ben"
        for number in range(ACTIONS // 2, ACTIONS):
            act(store, rng, number)
        with store.reading() as connection:
            bound = collections.get(store, connection, "default")
            somebody = persons.listed(connection, bound, limit=1)[0].external_id
        erase(store, "default", somebody)
        checkpoint(folder / "people.db")
        yield store, folder / "earlier.db", log_anchor(store)
        store.close()


def checkpoint(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@contextmanager
def tampered(store: Store, change: Callable[[sqlite3.Connection], object]) -> Iterator[Store]:
    """The same gallery in a copy of its file, after somebody who can write to the file had their way."""
    path = Path(store.label).with_name("tampered.db")
    shutil.copy(store.label, path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    change(connection)
    connection.commit()
    connection.close()
    copy = Store.open(path, store.key)
    try:
        yield copy
    finally:
        copy.close()
        for one in path.parent.glob("tampered.db*"):
            if one.is_file():
                one.unlink()


def one_column(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    """Change a little, or all, of one column of one entry."""
    seq, column = int(rng.integers(1, last + 1)), str(rng.choice(COLUMNS))
    [old] = db.execute(f"SELECT {column} FROM audit WHERE seq = ?", (seq,)).fetchone()
    if column == "seq":
        new = last + int(rng.integers(1, 1000)) if rng.random() < 0.5 else -seq
    elif old is None:
        new = rng.bytes(8).hex()
    elif rng.random() < 0.2 and column in ("collection", "subject"):
        new = None
    else:
        at = int(rng.integers(0, len(old)))
        new = old[:at] + ("0" if old[at] != "0" else "1") + old[at + 1 :]
    db.execute(f"UPDATE audit SET {column} = ? WHERE seq = ?", (new, seq))
    return f"column {column}"


def rename_an_actor(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    """Everything that ann did was done by ben, or one thing was."""
    if rng.random() < 0.5:
        db.execute("UPDATE audit SET actor = 'ben' WHERE actor = 'ann'")
    else:
        seq = int(rng.integers(1, last + 1))
        db.execute("UPDATE audit SET actor = iif(actor = 'ann', 'ben', 'ann') WHERE seq = ?", (seq,))
    return "actor renamed"


def delete_some(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    first = int(rng.integers(1, last + 1))
    db.execute("DELETE FROM audit WHERE seq BETWEEN ? AND ?", (first, first + int(rng.integers(0, 5))))
    return "deleted"


def delete_and_close_the_gap(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    seq = int(rng.integers(1, last))
    db.execute("DELETE FROM audit WHERE seq = ?", (seq,))
    for later in range(seq + 1, last + 1):
        db.execute("UPDATE audit SET seq = ? WHERE seq = ?", (later - 1, later))
    db.execute("UPDATE gallery SET audit_seq = ?", (last - 1,))
    return "deleted, the rest moved up"


def swap_two(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    a, b = (int(one) for one in rng.choice(np.arange(1, last + 1), 2, replace=False))
    for before, after in ((a, -1), (b, a), (-1, b)):
        db.execute("UPDATE audit SET seq = ? WHERE seq = ?", (after, before))
    return "swapped"


def swap_what_happened(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    """Two entries exchange what they tell and keep their place in the chain."""
    while True:
        a, b = (int(one) for one in rng.choice(np.arange(1, last + 1), 2, replace=False))
        told = [
            db.execute("SELECT at, kind, actor, collection, subject, details FROM audit WHERE seq = ?", (s,)).fetchone()
            for s in (a, b)
        ]
        if told[0] != told[1]:
            break
    for seq, values in ((a, told[1]), (b, told[0])):
        db.execute(
            "UPDATE audit SET at = ?, kind = ?, actor = ?, collection = ?, subject = ?, details = ? WHERE seq = ?",
            (*values, seq),
        )
    return "contents swapped"


def forge_at_the_end(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    """One more entry that follows the last, under a mac of the forger's own, and the head with it."""
    mac = rng.bytes(32).hex()
    db.execute(
        f"INSERT INTO audit ({', '.join(COLUMNS)}) "
        "SELECT seq + 1, at, kind, actor, collection, subject, details, mac, ? FROM audit WHERE seq = ?",
        (mac, last),
    )
    if rng.random() < 0.7:
        db.execute("UPDATE gallery SET audit_seq = ?, audit_mac = ?", (last + 1, mac))
    return "forged at the end"


def forge_in_between(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    """A copy of another entry, mac and all, takes the place of one."""
    a, b = (int(one) for one in rng.choice(np.arange(1, last + 1), 2, replace=False))
    db.execute("DELETE FROM audit WHERE seq = ?", (a,))
    db.execute(
        f"INSERT INTO audit ({', '.join(COLUMNS)}) "
        "SELECT ?, at, kind, actor, collection, subject, details, previous, mac FROM audit WHERE seq = ?",
        (a, b),
    )
    return "replaced by a copy"


def cut_the_end(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    """Delete the last entries and name the one before them the head, as its mac stands in the log."""
    keep = last - int(rng.integers(1, 20))
    db.execute("DELETE FROM audit WHERE seq > ?", (keep,))
    if rng.random() < 0.7:
        db.execute("UPDATE gallery SET audit_seq = ?, audit_mac = (SELECT mac FROM audit WHERE seq = ?)", (keep, keep))
        return "cut, head and all"
    return "cut"


def change_the_head(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    column = str(rng.choice(["audit_seq", "audit_mac", "audit_seal"]))
    value = last + 1 if column == "audit_seq" else rng.bytes(32).hex()
    db.execute(f"UPDATE gallery SET {column} = ?", (value,))
    return f"head's {column}"


def empty_it(db: sqlite3.Connection, rng: np.random.Generator, last: int) -> str:
    db.execute("DELETE FROM audit")
    if rng.random() < 0.7:
        db.execute("UPDATE gallery SET audit_seq = 0, audit_mac = ?", ("0" * 64,))
    return "emptied"


TRICKS = (
    one_column, one_column, one_column, rename_an_actor, delete_some, delete_and_close_the_gap, swap_two,
    swap_what_happened, forge_at_the_end, forge_in_between, cut_the_end, change_the_head, empty_it,
)  # fmt: skip


def test_every_tampering_is_found(gallery: tuple[Store, Path, str]) -> None:
    store, _, _ = gallery
    last = int(log_anchor(store).partition(":")[0])
    assert last > ACTIONS and verify_gallery(store) == []
    counted: Counter[str] = Counter()
    missed = []
    for number in range(ROUNDS):
        rng = np.random.default_rng(number)
        trick = TRICKS[number % len(TRICKS)]
        name = ""

        def change(db: sqlite3.Connection) -> None:
            nonlocal name
            name = trick(db, rng, last)  # noqa: B023

        with tampered(store, change) as copy:
            if not verify_gallery(copy):
                missed.append(f"round {number}: {name}")
        counted[name] += 1
    print("\n".join(f"{count:4} {name}" for name, count in sorted(counted.items())))
    assert missed == []
    assert counted.total() == ROUNDS


def test_an_untouched_copy_is_whole(gallery: tuple[Store, Path, str]) -> None:
    with tampered(gallery[0], lambda db: db.execute("SELECT 1")) as copy:
        assert verify_gallery(copy) == [] and verify_gallery(copy, [gallery[2]]) == []


def test_an_earlier_copy_is_found_with_an_anchor_only(gallery: tuple[Store, Path, str]) -> None:
    """A file that was put back whole fits itself: only what is kept elsewhere knows better."""
    store, earlier, anchor = gallery
    copy = Store.open(earlier, store.key)
    assert verify_gallery(copy) == []
    [found] = verify_gallery(copy, [anchor])
    assert "rolled back" in str(found)
    own = log_anchor(copy)
    assert verify_gallery(copy, [own]) == [] and verify_gallery(store, [own, anchor]) == []
    copy.close()


def test_a_log_whose_end_was_cut_is_not_added_to(gallery: tuple[Store, Path, str]) -> None:
    """Otherwise the next entry would cover what was done."""
    last = int(gallery[2].partition(":")[0])

    def change(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM audit WHERE seq = ?", (last,))
        mac = "(SELECT mac FROM audit WHERE seq = ?)"
        db.execute(f"UPDATE gallery SET audit_seq = ?, audit_mac = {mac}", (last - 1, last - 1))

    with tampered(gallery[0], change) as copy:
        with pytest.raises(VultusError, match="tampered"), copy.writing() as write:
            write.audit("enrolled", None, None)
        assert verify_gallery(copy)
