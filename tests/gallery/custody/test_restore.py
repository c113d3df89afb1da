"""A restored gallery is the backup's, without whoever was erased since; no follower takes it for the lost one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from vultus.errors import VultusError
from vultus.gallery.custody.backup import backup, describe_backup
from vultus.gallery.custody.erase import erase
from vultus.gallery.custody.ledger import ledger_path
from vultus.gallery.custody.restore import restore
from vultus.gallery.protection import KeyEncryptionKey, ProtectionError
from vultus.gallery.settings import Settings
from vultus.gallery.store import Sample, Store, collections, follow, persons, templates
from vultus.gallery.store.schema import audit, changes, erasures, gallery, metadata
from vultus.gallery.store.schema import persons as person_rows
from vultus.gallery.store.verification import verify_gallery

from ..databases import PostgreSQLServer

DIM = 8
Places = Callable[[], str | Path]


def filled(place: str | Path, names: list[str]) -> Store:
    store = Store.create(place)
    enrol(store, names)
    return store


def enrol(store: Store, names: list[str]) -> list[int]:
    made = []
    with store.writing() as write:
        bound = collections.find(store, write.connection, "default")
        if bound is None:
            bound = collections.create(store, write, "default", "m", "contract", DIM, Settings.parse({}))
        for name in names:
            person, key = persons.add(store, write, bound, name)
            row = np.random.default_rng(person.id).standard_normal(DIM).astype(np.float32)
            sample = Sample(row / np.linalg.norm(row), name.encode(), b"png")
            templates.add(write, bound, person, key, [sample])
            write.audit("enrolled", bound.uuid, key.pseudonym, {"templates": 1})
            made.append(person.id)
    return made


def names(store: Store) -> list[str]:
    with store.reading() as connection:
        return sorted(connection.execute(select(person_rows.c.external_id)).scalars())


def rows(store: Store) -> np.ndarray:
    with store.reading() as connection:
        bound = collections.get(store, connection, "default")
        return follow(store, connection, bound, None).embeddings


def test_the_gallery_comes_back(new_place: Places, tmp_path: Path) -> None:
    store = filled(new_place(), ["ada", "bob", "cy"])
    before = rows(store)
    made = backup(store, tmp_path / "b.vultus")
    done = restore(made.path, place := new_place(), ledgers=[store_place(store)])
    assert (done.persons, done.templates, done.replayed) == (3, 3, 0)
    with_key = Store.open(place)
    assert names(with_key) == ["ada", "bob", "cy"]
    assert np.array_equal(rows(with_key), before)
    assert findings(with_key) == []
    assert with_key.info == store.info
    assert enrol(with_key, ["dee"])
    store.close()
    with_key.close()


@pytest.mark.parametrize("how", ["file", "gallery"])
def test_who_was_erased_since_stays_erased(new_place: Places, tmp_path: Path, how: str) -> None:
    store = filled(new_place(), ["lovelace", "bob", "cy"])
    erase(store, "default", "cy")
    made = backup(store, tmp_path / "b.vultus")
    enrol(store, ["dee"])
    [gone] = erase(store, "default", "lovelace").receipts
    erase(store, "default", "dee")
    shutil.copy(ledger_path(store), tmp_path / "copy.jsonl")
    named = tmp_path / "copy.jsonl" if how == "file" else store_place(store)
    done = restore(made.path, place := new_place(), ledgers=[named])
    assert (done.persons, done.templates, done.replayed, done.erasures) == (1, 1, 1, 3)
    back = Store.open(place)
    assert names(back) == ["bob"]
    assert findings(back) == []
    with back.reading() as connection:
        assert len(connection.execute(select(erasures)).all()) == 3
        told = connection.execute(select(audit.c.kind, audit.c.details).order_by(audit.c.seq.desc()).limit(2)).all()
        assert [row.kind for row in told] == ["restored", "erasure_replayed"]
        assert json.loads(told[1].details) == {"erased_by": gone.audit_seq}
        for table in metadata.sorted_tables:
            if table.name not in ("changes", "erasures"):
                assert "lovelace" not in str(connection.execute(select(table)).all())
    assert sorted(ledger_path(back).read_text().splitlines()) == sorted(ledger_path(store).read_text().splitlines())
    store.close()
    back.close()


def test_not_a_byte_of_the_erased_is_in_the_new_file(tmp_path: Path) -> None:
    store = filled(tmp_path / "a.db", [f"person-{i:03}" for i in range(40)])
    made = backup(store, tmp_path / "b.vultus")
    with store.reading() as connection:
        sealed = connection.execute(select(metadata.tables["templates"].c.sealed)).scalars().all()
        keys = connection.execute(select(metadata.tables["person_keys"].c.sealed)).scalars().all()
    erase(store, "default", "person-007")
    (tmp_path / "new").mkdir()
    restore(made.path, tmp_path / "new" / "c.db", ledgers=[tmp_path / "a.db"])
    content = b"".join(one.read_bytes() for one in (tmp_path / "new").glob("c.db*") if one.is_file())
    assert sealed[8] in content and keys[8] in content
    assert sealed[7] not in content and keys[7] not in content and b"person-007" not in content
    store.close()


def test_the_ledger_beside_the_lost_file_is_found(tmp_path: Path) -> None:
    store = filled(tmp_path / "a.db", ["ada", "bob"])
    made = backup(store, tmp_path / "b.vultus")
    erase(store, "default", "ada")
    store.close()
    (tmp_path / "a.db").unlink()
    done = restore(made.path, tmp_path / "a.db")
    assert (done.persons, done.replayed) == (1, 1)


def test_without_a_ledger_nothing_is_restored_unless_it_is_said(new_place: Places, tmp_path: Path) -> None:
    store = filled(tmp_path / "live.db", ["ada"])
    made = backup(store, tmp_path / "b.vultus")
    store.close()
    place = new_place()
    with pytest.raises(VultusError, match="who was erased"):
        restore(made.path, place)
    with pytest.raises(VultusError, match="no ledger"):
        restore(made.path, place, ledgers=[tmp_path / "no.jsonl"])
    assert restore(made.path, place, replay=False).persons == 1


def test_a_forged_receipt_erases_nobody(new_place: Places, tmp_path: Path) -> None:
    store = filled(new_place(), ["ada", "bob"])
    made = backup(store, tmp_path / "b.vultus")
    [true] = erase(store, "default", "ada").receipts
    with store.reading() as connection:
        bob = connection.execute(select(person_rows.c.uuid)).scalar_one()
    forged = tmp_path / "forged.jsonl"
    forged.write_text(true.to_json() + "\n" + replace(true, person_uuid=bob).to_json() + "\n")
    place = new_place()
    with pytest.raises(ProtectionError, match="line 2 of the ledger"):
        restore(made.path, place, ledgers=[forged])
    assert restore(made.path, place, ledgers=[store_place(store)]).replayed == 1
    store.close()


def test_a_gallery_that_is_there_stays(new_place: Places, tmp_path: Path) -> None:
    store = filled(place := new_place(), ["ada"])
    made = backup(store, tmp_path / "b.vultus")
    with pytest.raises(VultusError, match="exists already"):
        restore(made.path, place, replay=False)
    assert names(store) == ["ada"]
    store.close()


def test_another_key_or_another_gallerys_ledger_is_refused(tmp_path: Path) -> None:
    store, other = filled(tmp_path / "a.db", ["ada"]), filled(tmp_path / "o.db", ["eve"])
    made = backup(store, tmp_path / "b.vultus")
    with pytest.raises(ProtectionError, match="made under"):
        restore(made.path, tmp_path / "c.db", KeyEncryptionKey.generate(), replay=False)
    with pytest.raises(VultusError, match="not the one of the backup"):
        restore(made.path, tmp_path / "c.db", ledgers=[tmp_path / "o.db"])
    assert not (tmp_path / "c.db").exists()
    store.close()
    other.close()


def test_ids_and_sequence_go_on_where_nobody_was(new_place: Places, tmp_path: Path) -> None:
    """What a follower or a person knew of the lost database means nothing else in the restored one."""
    store = filled(new_place(), ["ada", "bob"])
    made = backup(store, tmp_path / "b.vultus")
    lost = enrol(store, ["cy", "dee"])
    position = store.head()
    done = restore(made.path, place := new_place(), ledgers=[store_place(store)])
    back = Store.open(place)
    assert done.backup == describe_backup(made.path)
    new = enrol(back, [f"new-{i}" for i in range(5)])
    assert not set(new) & set(lost)
    with back.reading() as connection:
        bound = collections.get(back, connection, "default")
        assert bound.snapshot_key is None
        caught_up = follow(back, connection, bound, position)
        assert caught_up.rebuild and len(caught_up.template_ids) == 7
        paged = follow(back, connection, bound, position, limit=2)
        assert paged.rebuild
        total = len(paged.template_ids)
        while (step := follow(back, connection, bound, paged.position, limit=2)).position != paged.position:
            assert not step.rebuild
            total, paged = total + len(step.template_ids), step
        assert total == 7
        assert connection.execute(select(gallery.c.head)).scalar_one() < 1 << 53
        assert connection.execute(select(changes.c.seq).order_by(changes.c.seq.desc()).limit(1)).scalar() == back.head()
    store.close()
    back.close()


def test_between_the_databases(postgresql: PostgreSQLServer, tmp_path: Path) -> None:
    """SQLite → PostgreSQL → SQLite: the same people, templates and ids."""
    store = filled(tmp_path / "a.db", ["ada", "bob"])
    before = rows(store)
    address = postgresql.fresh()
    restore(backup(store, tmp_path / "1").path, address, replay=False)
    there = Store.open(address)
    assert names(there) == ["ada", "bob"] and enrol(there, ["cy"])
    restore(backup(there, tmp_path / "2").path, tmp_path / "c.db", ledgers=[address])
    back = Store.open(tmp_path / "c.db")
    assert names(back) == ["ada", "bob", "cy"]
    assert np.array_equal(rows(back)[:2], before)
    assert findings(back) == []
    for one in (store, there, back):
        one.close()


def store_place(store: Store) -> str | Path:
    """Where the store's database is, with its password."""
    if store.database.dialect == "sqlite":
        return store.label
    return store.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def findings(store: Store) -> list[str]:
    return [str(one) for one in verify_gallery(store)]
