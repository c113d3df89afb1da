"""Milvus as a view of the change sequence: a real server, fed, searched, killed and started again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vultus.errors import ContractError, VultusError
from vultus.gallery.delta import Delta
from vultus.gallery.engines import Follower, Found, MilvusEngine, rescore, search_rescored
from vultus.gallery.index.part import Part

DIM = 16
NONE = np.empty(0, np.int64)


def rows(count: int, seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def ints(values) -> np.ndarray:
    return np.array(sorted(values), np.int64)


class Truth:
    """A gallery in plain Python with a change sequence, told in bounded deltas."""

    def __init__(self, seed: int = 0, limit: int = 40) -> None:
        self.random = np.random.default_rng(seed)
        self.limit = limit
        self.templates: dict[int, tuple[int, np.ndarray]] = {}
        self.changes: list[tuple[str, int]] = []
        self.next = 1

    def enrol(self, person: int, row: np.ndarray | None = None) -> int:
        self.templates[self.next] = (person, rows(1, int(self.random.integers(1 << 30)))[0] if row is None else row)
        self.changes.append(("enrol", self.next))
        self.next += 1
        return self.next - 1

    def remove(self, template: int) -> None:
        del self.templates[template]
        self.changes.append(("remove", template))

    def erase(self, person: int) -> None:
        self.templates = {key: kept for key, kept in self.templates.items() if kept[0] != person}
        self.changes.append(("erase", person))

    def at_random(self, count: int, persons: int = 12) -> None:
        for _ in range(count):
            draw = self.random.random()
            if draw < 0.7 or not self.templates:
                self.enrol(int(self.random.integers(1, persons + 1)))
            elif draw < 0.9:
                self.remove(int(self.random.choice(list(self.templates))))
            else:
                self.erase(int(self.random.integers(1, persons + 1)))

    def feed(self, position: int | None) -> Delta:
        rebuild = position is None or position > len(self.changes)
        start = 0 if position is None or rebuild else position
        told = self.changes[start : start + self.limit]
        ids = sorted({which for kind, which in told if kind == "enrol"} & self.templates.keys())
        return Delta(
            start + len(told),
            rebuild,
            np.array(ids, np.int64),
            np.array([self.templates[at][0] for at in ids], np.int64),
            np.array([self.templates[at][1] for at in ids], np.float32).reshape(-1, DIM),
            ints({which for kind, which in told if kind == "remove"}),
            ints({which for kind, which in told if kind == "erase"}),
        )

    def of_templates(self, ids: np.ndarray) -> Part:
        return self._part(ids.tolist())

    def of_persons(self, ids: np.ndarray) -> Part:
        return self._part([at for at, (person, _) in self.templates.items() if person in ids])

    def _part(self, ids: list[int]) -> Part:
        have = sorted(at for at in ids if at in self.templates)
        matrix = np.array([self.templates[at][1] for at in have], np.float32).reshape(-1, DIM)
        return Part(matrix, np.array(have, np.int64), np.array([self.templates[at][0] for at in have], np.int64))

    def best(self, probe: np.ndarray, k: int, fusion: int = 1, among=None) -> list[tuple[int, float]]:
        people: dict[int, list[float]] = {}
        for person, row in self.templates.values():
            if among is None or person in among:
                people.setdefault(person, []).append(float(row @ probe))
        fused = {person: float(np.mean(sorted(all_of)[::-1][:fusion])) for person, all_of in people.items()}
        return sorted(fused.items(), key=lambda pair: -pair[1])[:k]


def agrees(engine: MilvusEngine, truth: Truth, k: int = 3, fusion: int = 1, among=None) -> None:
    probes = rows(4, 99)
    hits = search_rescored(engine, probes, k, truth, fusion=fusion, among=None if among is None else ints(among))
    for probe, found in zip(probes, hits, strict=True):
        expected = truth.best(probe, k, fusion, among)
        assert [hit.person_id for hit in found] == [person for person, _ in expected]
        assert np.allclose([hit.score for hit in found], [score for _, score in expected], atol=1e-6)
        assert all(truth.templates[hit.template_id][0] == hit.person_id for hit in found)


@pytest.fixture
def engine(milvus, request):
    made = MilvusEngine(milvus.uri, f"t_{request.node.name.split('[')[0]}", DIM)
    yield made
    made.drop()
    made.close()


def test_it_follows_random_changes_like_plain_python(engine, milvus) -> None:
    truth = Truth()
    follower = Follower(truth.feed, engine)
    assert engine.position is None
    for _ in range(4):
        truth.at_random(60)
        assert follower.catch_up() == len(truth.changes) == engine.position
        assert engine.template_ids().tolist() == sorted(truth.templates)
        assert engine.count() == len(truth.templates)
        agrees(engine, truth)
    agrees(engine, truth, k=4, fusion=3)
    agrees(engine, truth, k=2, among={2, 3, 5, 1000})
    assert search_rescored(engine, rows(2, 1), 3, truth, among=NONE) == [[], []]
    again = MilvusEngine(milvus.uri, engine.collection, DIM)  # another process would see the same
    assert again.position == len(truth.changes)
    agrees(again, truth)
    again.close()


def test_a_replayed_delta_adds_nothing(engine) -> None:
    truth = Truth(limit=1000)
    for person in range(1, 6):
        truth.enrol(person)
        truth.enrol(person)
    whole = truth.feed(None)
    engine.apply(whole)
    later = truth.feed(5)  # overlaps
    for _ in range(3):
        engine.apply(later)
    assert engine.count() == 10 and engine.template_ids().tolist() == list(range(1, 11))
    found = engine.search(rows(1, 3), 5)[0]
    assert sorted(row.template_id for row in found) == list(range(1, 11))  # each row once
    truth.erase(2)
    truth.remove(1)
    for _ in range(2):
        engine.apply(truth.feed(10))
    assert engine.template_ids().tolist() == [2, 5, 6, 7, 8, 9, 10]


@pytest.mark.slow
def test_a_position_ahead_of_the_truth_rebuilds(engine) -> None:
    truth = Truth()
    truth.at_random(90)
    Follower(truth.feed, engine).catch_up()
    restored = Truth(seed=5)  # a backup from before
    restored.at_random(50)
    assert Follower(restored.feed, engine).catch_up() == 50
    assert engine.template_ids().tolist() == sorted(restored.templates)
    agrees(engine, restored)


@pytest.mark.slow
def test_one_person_with_very_many_templates_hides_nobody(engine) -> None:
    probe = rows(1, 4)[0]
    count = 17_000  # more than Milvus returns for a probe
    near = probe + 0.1 * rows(count, 5)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    others = rows(6, 6)
    everyone = np.concatenate([near, others]).astype(np.float32)
    ids = np.arange(1, len(everyone) + 1)
    persons = np.r_[np.full(count, 1), 2, 2, 3, 4, 5, 5].astype(np.int64)
    engine.apply(Delta(1, True, ids, persons, everyone, NONE, NONE))
    found = engine.search(probe[None], 4)[0]
    best = {person: float((everyone[persons == person] @ probe).max()) for person in range(1, 6)}
    ranked = sorted(best, key=lambda person: -best[person])[:4]
    assert set(ranked) <= {row.person_id for row in found}
    assert engine.count(among=ints([1, 5])) == count + 2
    engine.apply(Delta(2, False, NONE, NONE, others[:0], NONE, ints([1])))
    assert engine.count() == 6


def test_who_left_the_truth_is_not_returned_by_a_lagging_engine(engine) -> None:
    truth = Truth()
    for person in range(1, 11):
        truth.enrol(person)
    Follower(truth.feed, engine).catch_up()
    probe = rows(1, 7)
    for person, _ in truth.best(probe[0], 3):
        truth.erase(person)  # the engine has not heard
    hits = search_rescored(engine, probe, 3, truth)[0]
    assert [hit.person_id for hit in hits] == [person for person, _ in truth.best(probe[0], 3)]


def test_nothing_but_ids_and_rotated_rows_is_stored(engine, milvus) -> None:
    import pymilvus

    client: Any = pymilvus.MilvusClient(milvus.uri)
    about = client.describe_collection(engine.collection)
    assert [field["name"] for field in about["fields"]] == ["template_id", "person_id", "embedding"]
    assert not about["enable_dynamic_field"] and not about["description"]
    assert about["consistency_level_name"] == "Strong"
    assert client.describe_index(engine.collection, "embedding")["index_type"] == "FLAT"
    client.close()


@pytest.mark.slow
def test_a_killed_server_loses_nothing_and_is_caught_up_with(engine, milvus) -> None:
    truth = Truth(limit=15)
    truth.at_random(120)
    follower = Follower(truth.feed, engine)
    follower.catch_up()
    milvus.kill()
    with pytest.raises(VultusError, match="does not answer") as away:
        follower.catch_up()
    assert "\n" not in str(away.value)
    truth.at_random(60)
    milvus.start()
    assert follower.catch_up(patience=90) == 180
    assert engine.template_ids().tolist() == sorted(truth.templates)
    agrees(engine, truth)


def test_what_does_not_fit_is_refused_in_one_line(engine, milvus, monkeypatch) -> None:
    with pytest.raises(ContractError, match=f"holds rows of {DIM} numbers, not 8"):
        MilvusEngine(milvus.uri, engine.collection, 8)
    with pytest.raises(ContractError, match="has a FLAT index, not HNSW"):
        MilvusEngine(milvus.uri, engine.collection, DIM, index="HNSW")
    with pytest.raises(VultusError, match="no index 'MAGIC'"):
        MilvusEngine(milvus.uri, "x", DIM, index="MAGIC")
    with pytest.raises(VultusError, match="cannot name a Milvus collection"):
        MilvusEngine(milvus.uri, "Anna's people", DIM)
    with pytest.raises(ContractError, match="rows of 8 numbers"):
        engine.apply(Delta(1, False, ints([1]), ints([1]), np.ones((1, 8), np.float32), NONE, NONE))
    bad = rows(1, 0)
    bad[0, 0] = np.nan
    with pytest.raises(ContractError, match="NaN"):
        engine.apply(Delta(1, False, ints([1]), ints([1]), bad, NONE, NONE))
    with pytest.raises(ContractError, match="finite"):
        engine.search(bad, 1)
    assert engine.position is None


def test_credentials_stay_out_of_addresses_and_errors(monkeypatch) -> None:
    with pytest.raises(VultusError) as refused:
        MilvusEngine("http://root:secret@127.0.0.1:19530", "x", DIM)
    assert "secret" not in str(refused.value) and "VULTUS_MILVUS_TOKEN" in str(refused.value)
    monkeypatch.setenv("VULTUS_MILVUS_TOKEN", "root:secret")
    with pytest.raises(VultusError, match="does not answer") as away:
        MilvusEngine("http://127.0.0.1:1", "x", DIM, timeout=2)
    assert "secret" not in str(away.value)
    with pytest.raises(VultusError, match="no Milvus server"):
        MilvusEngine("people.db", "x", DIM)


def test_scores_and_owners_come_from_the_truth_not_from_the_engine() -> None:
    truth = Truth()
    for person in (1, 1, 2, 3):
        truth.enrol(person)
    probe = rows(1, 11)
    candidates = [[Found(1, 9, 0.9), Found(1, 1, 0.9), Found(2, 1, 0.8), Found(3, 2, 0.7), Found(77, 9, 1.0)]]
    hits = rescore(candidates, probe, truth, 5)[0]
    expected = truth.best(probe[0], 5, among={1, 2})
    assert [(hit.person_id, pytest.approx(hit.score)) for hit in hits] == expected
    # The mean is of whatever templates the truth has of a candidate's person, found or not.
    hits = rescore([[Found(2, 1, 0.8), Found(3, 2, 0.7)]], probe, truth, 5, fusion=2)[0]
    assert [(hit.person_id, pytest.approx(hit.score)) for hit in hits] == truth.best(probe[0], 5, 2, among={1, 2})
    assert rescore([[], []], np.repeat(probe, 2, 0), truth, 5) == [[], []]
    assert rescore([[Found(77, 9, 1.0)]], probe, truth, 5) == [[]]
    assert rescore([[Found(77, 9, 1.0)]], probe, truth, 5, fusion=3) == [[]]
