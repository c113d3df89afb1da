"""Whoever may write to the database and has no key: every forgery is found, or docs/protection.md names it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.gallery import ConsentGiven, Gallery
from vultus.gallery.store import Store
from vultus.gallery.store.schema import metadata
from vultus.gallery.store.verification import verify_gallery

ROUNDS = int(os.environ.get("VULTUS_FORGERIES", "300"))
UNREAD = ("alembic_version", "followers", "sqlite_sequence")
"""Tables that verification does not read: their version, how far an engine says it is, which number comes next."""
BEYOND = {
    "changes",
    *(f"changes.{name}" for name in ("seq", "at", "kind", "collection_id", "person_id", "template_id")),
}
"""What is found of the change sequence is only what no longer tells of a template in use, or still tells of one that
went: an announcement before the last rebuild, one made twice, or the time of one are beyond reach."""


@dataclass
class Forged:
    """A gallery's file, an older copy of it, and the key."""

    path: Path
    earlier: Path
    key: Any

    def findings(self, change) -> list[str]:
        """What is found after `change` (connection, older rows by table) had its way with a copy of the file."""
        path = self.path.with_name("forged.db")
        for one in path.parent.glob("forged.db*"):
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        shutil.copy(self.path, path)
        db = sqlite3.connect(path)
        db.execute("PRAGMA synchronous = OFF")
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {trigger}")
        change(db)
        db.commit()
        db.close()
        try:
            store = Store.open(path, self.key)
        except VultusError as error:
            return [error.code]
        try:
            return [finding.code for finding in verify_gallery(store)]
        except VultusError as error:
            return [error.code]
        finally:
            store.close()


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory, recognizer, picture) -> Iterator[Forged]:
    folder = tmp_path_factory.mktemp("forgeries")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        settings = {"keep_crops": True, "purpose": "doors", "require_consent": True, "retention_days": 900}
        people = Gallery.open(folder / "people.db", recognizer, settings=settings)
        agreed = ConsentGiven("GDPR art. 9(2)(a)", expires_at="2099-01-01")
        for number in range(8):
            shots = [picture(number, sample) for sample in range(2)]
            people.enroll(f"person-{number}", *shots, consent=agreed, client_key=f"request-{number}")
        people.custody.withdraw_consent("person-7")
        key = people._binding.store.key
        _settle(folder / "people.db")
        shutil.copy(folder / "people.db", folder / "earlier.db")
        people.custody.update("person-0", name="Zero", metadata={"staff": True, "floor": 1e16, "share": 0.25})
        people.custody.withdraw_consent("person-1")
        people.custody.retain("person-2", "2098-01-01")
        people.configure(max_templates=7)
        people.custody.renew()
        people.erase("person-3", "person-4")
        people.identify(picture(5, 9), fpir=0.01)
        store = people._binding.store
        with store.database.writing() as connection, connection.begin():
            values = "(1, 'milvus:http://127.0.0.1:1', 3, '2030-01-01T00:00:00+00:00')"
            connection.exec_driver_sql(f"INSERT INTO followers VALUES {values}")
        people.close()
        _settle(folder / "people.db")
        yield Forged(folder / "people.db", folder / "earlier.db", key)


def _settle(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_an_untouched_copy_is_whole(forged: Forged) -> None:
    assert forged.findings(lambda db: None) == []


def test_three_hundred_forgeries_of_any_table_and_column_are_found_or_named(forged: Forged) -> None:
    tables = [*(table.name for table in metadata.sorted_tables), "alembic_version", "sqlite_sequence"]
    missed, tried = [], 0
    for number in range(ROUNDS):
        rng = np.random.default_rng(number)
        table = tables[number % len(tables)]
        told = ""

        def change(db: sqlite3.Connection) -> None:
            nonlocal told
            told = forge(db, forged.earlier, table, rng)  # noqa: B023

        found = forged.findings(change)
        tried += 1
        if not found and told and told not in BEYOND and told.partition(".")[0] not in UNREAD:
            missed.append(f"round {number}: {told}")
    assert missed == [] and tried == ROUNDS


def forge(db: sqlite3.Connection, earlier: Path, table: str, rng: np.random.Generator) -> str:
    """One forgery of a table; what it was, as TABLE or TABLE.COLUMN; nothing where the table has no row for it."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    rows = db.execute(f"SELECT rowid, * FROM {table}").fetchall()
    if not rows:
        return ""
    trick = rng.choice(["change", "change", "change", "swap", "delete", "copy", "play back"])
    if trick == "delete":
        db.execute(f"DELETE FROM {table} WHERE rowid = ?", (rows[rng.integers(len(rows))][0],))
        return table
    if trick == "copy":
        row = list(rows[rng.integers(len(rows))][1:])
        row[0] = _another(row[0], rng)
        try:
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        except sqlite3.IntegrityError:
            return ""
        return table
    if trick == "play back":
        db.execute("ATTACH ? AS old", (str(earlier),))
        before = db.execute(f"SELECT rowid, * FROM old.{table}").fetchall()
        known = {row[0]: row for row in rows}
        changed = [row for row in before if known.get(row[0]) != row]
        if not changed:
            return ""
        row = changed[rng.integers(len(changed))]
        try:
            db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * (len(row) - 1))})", row[1:])
        except sqlite3.IntegrityError:
            return ""
        return table
    column = str(rng.choice(columns))
    at = 1 + columns.index(column)
    one = rows[rng.integers(len(rows))]
    if trick == "swap":
        other = rows[rng.integers(len(rows))]
        if one[at] == other[at]:
            return ""
        new = other[at]
    else:
        new = _another(one[at], rng)
    try:
        db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, one[0]))
    except sqlite3.IntegrityError:
        return ""
    return f"{table}.{column}"


def _another(value: Any, rng: np.random.Generator) -> Any:
    """Another value of the same kind."""
    if value is None:
        return int(rng.integers(1, 1000))
    if isinstance(value, int):
        return value + int(rng.integers(1, 1000)) * (1 if rng.random() < 0.8 else -1)
    if isinstance(value, bytes):
        at = int(rng.integers(len(value)))
        return value[:at] + bytes([value[at] ^ (1 << int(rng.integers(8)))]) + value[at + 1 :]
    if not value:
        return "x"
    at = int(rng.integers(len(value)))
    return value[:at] + ("7" if value[at] != "7" else "3") + value[at + 1 :]


NAMED = {
    "two people's ids swapped": """UPDATE persons SET external_id = CASE external_id WHEN 'person-0' THEN 'x'
        WHEN 'person-1' THEN 'person-0' ELSE external_id END""",
    "a person deleted": "DELETE FROM persons WHERE external_id = 'person-0'",
    "a consent forged": "INSERT INTO consents SELECT 99, person_id, purpose, basis, text_digest, given_at, expires_at, "
    "NULL, recorded_at, mac FROM consents LIMIT 1",
    "a withdrawal undone": "UPDATE consents SET withdrawn_at = NULL",
    "the log of searches switched off": "UPDATE collections SET settings = json_set(settings, '$.audit_searches', "
    "json('false'))",
    "gates switched off": "UPDATE collections SET settings = json_set(settings, '$.gates', json('false'))",
    "guards switched off": "UPDATE collections SET settings = json_set(settings, '$.outlier_fmr', NULL)",
    "a receipt deleted": "DELETE FROM erasures WHERE rowid = (SELECT min(rowid) FROM erasures)",
    "another model": "UPDATE collections SET model = '/tmp/theirs.onnx'",
    "another public key": "UPDATE gallery SET public_key = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='",
    "a key deleted": "DELETE FROM person_keys WHERE person_id = (SELECT min(person_id) FROM person_keys)",
    "an announcement deleted": "DELETE FROM changes WHERE seq = (SELECT max(seq) FROM changes WHERE kind = 'enrol')",
}


@pytest.mark.parametrize("what", NAMED)
def test_what_a_writer_of_the_database_can_do_is_found(forged: Forged, what: str) -> None:
    assert forged.findings(lambda db: db.execute("PRAGMA foreign_keys = ON") and db.executescript(NAMED[what]))


def test_an_old_template_put_back_is_found(forged: Forged) -> None:
    """Row and seal are the gallery's own, from before the renewal: only the tally tells."""

    def change(db: sqlite3.Connection) -> None:
        db.execute("ATTACH ? AS old", (str(forged.earlier),))
        db.execute("INSERT OR REPLACE INTO templates SELECT * FROM old.templates WHERE id = 1")

    assert forged.findings(change) == ["rows_replaced"]


def test_a_changed_row_is_not_acted_on(forged: Forged, recognizer, picture) -> None:
    def change(db: sqlite3.Connection) -> None:
        db.execute("UPDATE persons SET external_id = 'somebody' WHERE external_id = 'person-5'")

    assert forged.findings(change)
    people = Gallery.open(forged.path.with_name("forged.db"), recognizer, key=forged.key)
    with pytest.raises(VultusError) as refused:
        people.identify(picture(5, 9), fpir=0.01)
    assert refused.value.code == "row_tampered" and refused.value.fields["table"] == "persons"
    people.custody.mend_log("looked into")
    assert people.custody.verify_log() == []
    people.close()
