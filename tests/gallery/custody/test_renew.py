"""A renewal changes every row and no cosine; whoever holds old rows or an old snapshot can do nothing with them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from vultus.errors import VultusError
from vultus.gallery.custody.renew import renew
from vultus.gallery.protection import Rotation
from vultus.gallery.settings import Settings
from vultus.gallery.store import Collection, Sample, Store, collections, follow, persons, templates
from vultus.gallery.store.schema import collections as collection_rows
from vultus.gallery.store.schema import templates as template_rows

DIM = 32


def draw(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("vultus.gallery.custody.renew"), "AT_ONCE", 7)


def filled(place: str | Path, plain: np.ndarray) -> Store:
    store = Store.create(place)
    with store.writing() as write:
        bound = collections.create(store, write, "default", "m", "contract", DIM, Settings.parse({}))
        collections.create(store, write, "other", "m", "contract", DIM, Settings.parse({}))
        for number, row in enumerate(plain):
            person, key = persons.add(store, write, bound, f"person-{number}")
            templates.add(write, bound, person, key, [Sample(row)])
    return store


def read(store: Store, position: int | None = None) -> tuple[Collection, np.ndarray]:
    with store.reading() as connection:
        bound = collections.get(store, connection, "default")
        return bound, follow(store, connection, bound, position).embeddings


def test_rows_change_and_cosines_stay(place: str | Path) -> None:
    plain = draw(20)
    store = filled(place, plain)
    old, before = read(store)
    done = renew(store, "default")
    new, after = read(store)
    assert done.templates == 20 and done.scrubbed and old.rotation_key != new.rotation_key
    assert np.allclose(after @ after.T, before @ before.T, atol=2e-6)
    assert np.allclose(new.rotation.apply(plain), after, atol=2e-6)
    assert np.allclose(np.linalg.norm(after, axis=1), 1, atol=1e-6)
    assert np.abs(np.einsum("ij,ij->i", before, after)).mean() < 3 / np.sqrt(DIM)  # like strangers' rows
    store.close()


def test_followers_start_afresh(place: str | Path) -> None:
    store = filled(place, draw(20))
    position = store.head()
    renew(store, "default")
    with store.reading() as connection:
        bound = collections.get(store, connection, "default")
        whole = follow(store, connection, bound, position)
        assert whole.rebuild and len(whole.template_ids) == 20
        paged, total = follow(store, connection, bound, position, limit=6), 0
        assert paged.rebuild
        while True:
            total += len(paged.template_ids)
            step = follow(store, connection, bound, paged.position, limit=6)
            if step.position == paged.position:
                break
            assert not step.rebuild
            paged = step
        assert total == 20
        other = collections.get(store, connection, "other")
        assert not follow(store, connection, other, position).rebuild
    store.close()


def test_the_snapshot_is_void(place: str | Path) -> None:
    store = filled(place, draw(3))
    with store.writing() as write:
        bound = collections.get(store, write.connection, "default")
        collections.new_snapshot_key(store, write, bound)
    path = store.state / f"{bound.uuid}.index"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"snapshot")
    renew(store, "default")
    assert read(store)[0].snapshot_key is None and not path.exists()
    store.close()


def test_suspended_people_are_renewed_too(place: str | Path) -> None:
    plain = draw(10)
    store = filled(place, plain)
    with store.writing() as write:
        bound = collections.get(store, write.connection, "default")
        away = persons.require(store, write.connection, bound, "person-4")
        persons.set_status(write, bound, away, "suspended")
    done = renew(store, "default")
    assert len(read(store)[1]) == 9
    with store.writing() as write:
        bound = collections.get(store, write.connection, "default")
        away = persons.require(store, write.connection, bound, "person-4")
        persons.set_status(write, bound, away, "active")
    bound, back = read(store, done.position)
    assert np.allclose(bound.rotation.undo(back), plain[4:5], atol=2e-6)
    assert np.allclose(bound.rotation.undo(read(store)[1]), plain, atol=2e-6)
    store.close()


def test_the_next_models_templates_are_renewed_too(place: str | Path) -> None:
    plain, later = draw(5), draw(5, 1)
    store = filled(place, plain)
    with store.writing() as write:
        bound = collections.get(store, write.connection, "default")
        key = bytes(range(32))
        values = {
            "next_model": "n",
            "next_contract_id": "next",
            "next_dim": DIM,
            "next_rotation_key": store.key.wrap(key, collections.rotation_bound(bound.uuid)),
        }
        write.update(collection_rows, collection_rows.c.id == bound.id, **values)
        for number, row in enumerate(later):
            person = persons.require(store, write.connection, bound, f"person-{number}")
            own = persons.key_of(store, write.connection, person)
            templates.add(write, bound, person, own, [Sample(row)],
                          rotation=Rotation(key, DIM), contract_id="next", announce=False)  # fmt: skip
    told: list[tuple[int, int]] = []
    assert renew(store, "default", progress=lambda *at: told.append(at)).templates == 10
    assert told[-1] == (10, 10)
    with store.writing() as write:
        bound = collections.get(store, write.connection, "default")
        successor = bound.successor
        assert successor is not None and successor.rotation.matrix[0, 0] != Rotation(key, DIM).matrix[0, 0]
        next_key = write.connection.execute(
            select(collection_rows.c.next_rotation_key).where(collection_rows.c.id == bound.id)
        ).scalar_one()
        values = {"contract_id": "next", "sealed_rotation_key": next_key}
        write.update(collection_rows, collection_rows.c.id == bound.id, **values)
    bound, rows = read(store)
    assert np.allclose(bound.rotation.undo(rows), later, atol=2e-6)
    store.close()


def test_a_renewal_that_fails_changes_nothing(place: str | Path) -> None:
    store = filled(place, draw(20))
    old, before = read(store)
    head = store.head()

    def stop(done: int, _: int) -> None:
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        renew(store, "default", progress=stop)
    new, after = read(store)
    assert old.rotation_key == new.rotation_key and np.array_equal(before, after) and store.head() == head
    store.close()


def test_old_rows_leave_the_file(tmp_path: Path) -> None:
    store = filled(tmp_path / "a.db", draw(60))
    with store.reading() as connection:
        sealed = connection.execute(select(template_rows.c.sealed)).scalars().all()
    assert renew(store, "default").scrubbed
    content = b"".join(one.read_bytes() for one in tmp_path.glob("a.db*") if one.is_file())
    assert not [one for one in sealed if one in content]
    store.close()


def test_an_unknown_collection_is_said(tmp_path: Path) -> None:
    store = filled(tmp_path / "a.db", draw(1))
    with pytest.raises(VultusError, match="no collection"):
        renew(store, "nobody")
    store.close()
