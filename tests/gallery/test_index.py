from __future__ import annotations

import threading
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vultus.errors import ContractError
from vultus.gallery import Index, Store
from vultus.gallery import old_index as index_module
from vultus.gallery.old_store import Delta, Sample


def brute_force(people: dict[str, np.ndarray], probe: np.ndarray, k: int) -> list[tuple[str, float]]:
    """Person and score, best first, in the plainest Python."""
    scores = []
    for name, templates in people.items():
        best = max(float(np.clip(np.float32(template @ probe), -1, 1)) for template in templates)
        scores.append((name, best))
    return sorted(scores, key=lambda item: -item[1])[:k]


def add(store: Store, name: str, rows: np.ndarray) -> None:
    store.add(name, [Sample(row) for row in rows])


class Scripted:
    """A store of which only the following matters, without the disk."""

    class info:
        dim: ClassVar[int] = 4

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, np.ndarray]] = []
        self.log: list[tuple[str, int]] = []

    def enrol(self, person: int, row: np.ndarray) -> None:
        self.log.append(("enrol", len(self.log) + 1))
        self.rows.append((len(self.log), person, row))

    def forget(self, person: int) -> None:
        self.log.append(("forget", person))
        self.rows = [row for row in self.rows if row[1] != person]

    def follow(self, position: int | None) -> Delta:
        rebuild = position is None
        recent = self.log[position or 0 :]
        ids = {value for kind, value in recent if kind == "enrol"}
        rows = [row for row in self.rows if rebuild or row[0] in ids]
        return Delta(
            len(self.log),
            rebuild,
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows], np.int64),
            np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
            {row[1]: f"p{row[1]:04}" for row in rows},
            frozenset() if rebuild else frozenset(value for kind, value in recent if kind == "forget"),
        )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), max_size=60),
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 8),
)
def test_random_enrolments_and_erasures_equal_brute_force(steps, seed, k):
    numbers, store = np.random.default_rng(seed), Scripted()
    index = Index(store)  # type: ignore[arg-type]
    people: dict[int, list[np.ndarray]] = {}
    generation = dict.fromkeys(range(7), 0)
    for action, who in steps:
        person = who + 7 * generation[who]
        if action == 0 and person in people:
            store.forget(person)
            del people[person]
            generation[who] += 1  # ids are never used again
        elif action == 1:
            index.refresh()
        else:
            row = numbers.normal(size=4).astype(np.float32)
            row /= np.linalg.norm(row)
            store.enrol(person, row)
            people.setdefault(person, []).append(row)
    probes = numbers.normal(size=(3, 4)).astype(np.float32)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    named = {f"p{person:04}": np.stack(people[person]) for person in sorted(people)}
    for probe, found in zip(probes, index.search(probes, k), strict=True):
        expected = brute_force(named, probe, k)
        assert [c.person for c in found] == [name for name, _ in expected]
        assert np.allclose([c.score for c in found], [score for _, score in expected], atol=1e-6)
        for candidate in found:
            template = next(row for row in store.rows if row[0] == candidate.template_id)
            assert float(template[2] @ probe) == pytest.approx(candidate.score, abs=1e-6)


def test_search_in_blocks_is_the_same(new_store, unit_rows, monkeypatch):
    store = new_store()
    for number in range(20):
        add(store, f"person {number}", unit_rows(1 + number % 3, seed=number))
    probes = unit_rows(17, seed=99)
    whole = Index(store).search(probes, 4)
    monkeypatch.setattr(index_module, "SCORES_AT_ONCE", 100)
    blocks = Index(store).search(probes, 4)
    assert [[c.template_id for c in found] for found in blocks] == [[c.template_id for c in found] for found in whole]


def test_the_index_follows_another_connection(new_store, unit_rows):
    ours, rows = new_store(), unit_rows(3)
    theirs = Store.open(ours.path)
    index = Index(ours)
    assert index.search(rows[:1]) == [[]]
    add(theirs, "alice", rows[:2])
    assert index.search(rows[:1], 1)[0][0].person == "alice"
    add(theirs, "alice", rows[2:])
    add(theirs, "bob", unit_rows(2, seed=5))
    assert index.search(rows[2:], 1)[0][0].score == pytest.approx(1)
    theirs.remove(["alice"])
    assert [c.person for c in index.search(rows[:1])[0]] == ["bob"]
    assert index.position == ours.follow(None).position == 6


def test_a_rebuilt_index_is_the_same(new_store, unit_rows):
    store = new_store()
    index = Index(store)
    for number in range(30):
        add(store, f"p{number % 11}", unit_rows(1, seed=number))
        index.refresh()
        if number == 20:
            store.remove(["p3", "p7"])
    probes = unit_rows(5, seed=77)
    before = index.search(probes, 5)
    assert index.rebuild() == index.position
    after = index.search(probes, 5)
    for old, new in zip(before, after, strict=True):
        assert [(c.person, c.template_id) for c in old] == [(c.person, c.template_id) for c in new]


def test_a_position_ahead_of_the_file_rebuilds(new_store, unit_rows):
    """A backup was put back: what the index knew beyond it is gone."""
    full, restored = new_store("full.db"), new_store("restored.db")
    add(full, "alice", unit_rows(3))
    add(restored, "bob", unit_rows(1, seed=1))
    index = Index(full)
    index.refresh()
    index._store = restored
    assert [c.person for c in index.search(unit_rows(1))[0]] == ["bob"]


def test_equal_scores_come_in_the_order_of_enrolment(new_store, unit_rows):
    store, row = new_store(), unit_rows(1)
    for name in ("zoe", "adam", "mia", "noah"):
        add(store, name, row)
    assert [c.person for c in Index(store).search(row, 2)[0]] == ["zoe", "adam"]


def test_probes_must_be_unit_rows_of_the_right_size(new_store, unit_rows):
    index = Index(new_store())
    with pytest.raises(ContractError, match="length"):
        index.search(unit_rows(2) * 1.5)
    with pytest.raises(ContractError, match="shape"):
        index.search(unit_rows(2, dim=31))
    with pytest.raises(ContractError, match="shape"):
        index.search(unit_rows(1)[0])
    assert index.search(np.empty((0, 32), np.float32)) == []


def test_threads_search_while_one_enrols_and_forgets(new_store, unit_rows):
    store, fixed = new_store(), unit_rows(1)
    add(store, "fixed", fixed)
    index, wrong, done = Index(store), [], threading.Event()

    def search() -> None:
        while not done.is_set():
            best = index.search(fixed, 2)[0][0]
            if best.person != "fixed" or best.score < 0.9999:
                wrong.append(best)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(25):
        add(store, f"p{number}", unit_rows(3, seed=number + 1))
        if number % 4 == 3:
            store.remove([f"p{number - 2}"])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
