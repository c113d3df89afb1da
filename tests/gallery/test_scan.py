"""The best persons of the index are those of plain float32 comparison with every template."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import ContractError
from vultus.gallery.delta import Delta
from vultus.gallery.index import Hit, Table, View
from vultus.gallery.index.codes import MOST_ROWS, Codes
from vultus.gallery.index.part import Part

NONE = np.empty(0, np.int64)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def faces(random: np.random.Generator, persons: int, dim: int, most: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Rows and person ids: people around centres, with 1 to `most` templates each, in any order."""
    owners = random.permutation(np.repeat(np.arange(persons), random.integers(1, most + 1, persons)))
    centres = unit(random.standard_normal((persons, dim)))
    return unit(centres[owners] + 0.8 / np.sqrt(dim) * random.standard_normal((len(owners), dim))), owners


def table_of(rows: np.ndarray, persons: np.ndarray, tail: int = 2048) -> Table:
    table = Table(rows.shape[1], tail=tail)
    table.apply(Delta(1, True, np.arange(len(rows)), persons.astype(np.int64), rows, NONE, NONE))
    return table


def brute(
    rows: np.ndarray, persons: np.ndarray, probe: np.ndarray, k: int, fusion: int = 1, among: np.ndarray | None = None
) -> list[Hit]:
    """Every template compared, in plain Python. Template ids are row numbers."""
    scores = np.clip(np.einsum("ij,j->i", rows, probe), -1, 1)
    templates: dict[int, list[tuple[float, int]]] = {}
    for at, (person, score) in enumerate(zip(persons.tolist(), scores.tolist(), strict=True)):
        if among is None or person in among:
            templates.setdefault(person, []).append((-score, at))
    hits = []
    for person, mine in templates.items():
        best = sorted(mine)[:fusion]
        hits.append(Hit(person, float(np.float32(-sum(score for score, _ in best) / len(best))), best[0][1]))
    return sorted(hits, key=lambda hit: (-hit.score, hit.template_id))[:k]


def probes_for(random: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """Half of them near an enrolled row, half of them strangers."""
    near = rows[random.integers(0, len(rows), count // 2)]
    near = near + 0.9 / np.sqrt(rows.shape[1]) * random.standard_normal(near.shape)
    return unit(np.concatenate([near, random.standard_normal((count - count // 2, rows.shape[1]))]))


@pytest.mark.parametrize("dim", [5, 32, 128, 512])
@pytest.mark.parametrize("tail", [0, 10_000], ids=["codes", "float32"])
@pytest.mark.parametrize("persons", [1, 2, 300])
def test_search_equals_comparing_every_template(dim: int, tail: int, persons: int) -> None:
    random = np.random.default_rng(dim + persons)
    rows, owners = faces(random, persons, dim)
    view = table_of(rows, owners, tail).view()
    assert (view.parts[0].codes is None) == (tail > 0)
    probes = probes_for(random, rows, 12)
    for k, fusion in ((1, 1), (5, 1), (5, 3), (400, 2)):
        expected = [brute(rows, owners, probe, k, fusion) for probe in probes]
        assert view.search(probes, k, fusion=fusion) == expected
        assert [view.search(probe[None], k, fusion=fusion)[0] for probe in probes] == expected


@pytest.mark.parametrize("dim", [32, 128])
def test_full_and_padded_parts(dim: int) -> None:
    random = np.random.default_rng(dim)
    rows, owners = faces(random, 17_000, dim)
    view = table_of(rows, owners).view()
    assert [len(part) for part in view.parts] == [MOST_ROWS, len(rows) - MOST_ROWS]
    probes = probes_for(random, rows, 40)
    best = [np.argsort(-np.einsum("ij,j->i", rows, probe), kind="stable")[:40] for probe in probes]
    expected = [list(dict.fromkeys(owners[at].tolist()))[:5] for at in best]
    assert [[hit.person_id for hit in hits] for hits in view.search(probes)] == expected
    half = np.arange(0, 17_000, 2)
    expected = [[person for person in dict.fromkeys(owners[at].tolist()) if person % 2 == 0][:3] for at in best]
    assert [[hit.person_id for hit in hits] for hits in view.search(probes, 3, among=half)] == expected


@pytest.mark.parametrize("dim", [16, 32, 128, 512])
def test_the_error_of_the_codes_stays_within_its_bound(dim: int) -> None:
    random = np.random.default_rng(dim)
    rows, _ = faces(random, 2_000, dim)
    codes = Codes.of(rows)
    assert 0 < codes.slack < 0.3
    probes = np.concatenate([rows[:50], probes_for(random, rows, 50)])
    scores, places, floors = codes.scan(probes, 1_000)
    exact = probes @ rows.T
    assert np.abs(scores - np.take_along_axis(exact, places, 1)).max() < codes.slack
    for row, there, floor in zip(exact, places, floors, strict=True):
        assert np.delete(row, there).max() < floor + codes.slack  # nothing better was left out


def test_no_row_is_left_out_of_a_full_scan() -> None:
    """turbovec preselects by one bit a coordinate from 32,768 rows on, and so loses rows; parts are smaller."""
    random = np.random.default_rng(7)
    rows = unit(random.standard_normal((MOST_ROWS, 64)))
    codes = Codes.of(rows)
    probes = unit(random.standard_normal((64, 64)))
    _, places, floors = codes.scan(probes, 200)
    exact = probes @ rows.T
    for row, there, floor in zip(exact, places, floors, strict=True):
        assert np.delete(row, there).max() < floor + codes.slack


def test_equal_scores_go_by_the_earliest_template() -> None:
    random = np.random.default_rng(0)
    one = unit(random.standard_normal((1, 127)))
    rows = np.repeat(one, 700, axis=0)
    persons = np.arange(700)[::-1].copy()
    for tail in (0, 300, 10_000):
        hits = table_of(rows, persons, tail).view().search(one, 3)[0]
        assert [hit.template_id for hit in hits] == [0, 1, 2]
        assert [hit.person_id for hit in hits] == [699, 698, 697]
        assert len({hit.score for hit in hits}) == 1


def test_a_person_with_many_templates_does_not_hide_the_others() -> None:
    random = np.random.default_rng(1)
    centre = unit(random.standard_normal((1, 64)))
    many = unit(centre + 0.02 * random.standard_normal((3_000, 64)))
    others = unit(random.standard_normal((500, 64)))
    rows, persons = np.concatenate([many, others]), np.r_[np.zeros(3_000, int), np.arange(1, 501)]
    for fusion in (1, 4):
        assert table_of(rows, persons, 0).view().search(centre, 5, fusion=fusion)[0] == brute(
            rows, persons, centre[0], 5, fusion
        )


@pytest.mark.parametrize("size", [0, 1, 3, 150, 900])
def test_search_among_some_persons(size: int) -> None:
    random = np.random.default_rng(size)
    rows, owners = faces(random, 900, 32, most=3)
    view = table_of(rows, owners, 500).view()
    among = random.permutation(900)[:size]
    probes = probes_for(random, rows, 6)
    asked = np.r_[among, among[:1], 12_345]  # unsorted, twice, unknown
    allowed = np.array(sorted(among))
    assert view.search(probes, 4, among=asked) == [brute(rows, owners, probe, 4, among=allowed) for probe in probes]
    assert view.search(probes, 4, fusion=2, among=asked) == [
        brute(rows, owners, probe, 4, 2, allowed) for probe in probes
    ]
    assert view.count(asked) == int(np.isin(owners, among).sum())
    assert view.count() == len(view) == len(rows)


def test_an_empty_view_finds_nobody() -> None:
    view = View(0, 8, [])
    probe = unit(np.ones((2, 8)))
    assert view.search(probe) == [[], []] == view.search(probe, among=np.array([1]))
    assert view.search(np.empty((0, 8), np.float32)) == []
    assert view.count() == 0


@pytest.mark.parametrize(
    "probes",
    [np.ones((1, 8)), np.full((1, 8), np.nan), np.zeros((1, 8)), unit(np.ones((1, 9))), unit(np.ones((1, 8)))[0]],
)
def test_probes_that_are_no_unit_rows_are_refused(probes: np.ndarray) -> None:
    with pytest.raises(ContractError):
        View(0, 8, []).search(probes)


def test_numbers_below_one_are_refused() -> None:
    view, probe = View(0, 8, []), unit(np.ones((1, 8)))
    for k, fusion in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            view.search(probe, k, fusion=fusion)


def test_a_scan_without_codes_returns_the_best_and_a_floor() -> None:
    random = np.random.default_rng(3)
    rows = unit(random.standard_normal((50, 16)))
    part = Part(rows, np.arange(50), np.arange(50))
    scores, places, floors = part.scan(rows[:2], 5)
    exact = np.sort(rows[:2] @ rows.T, axis=1)[:, ::-1]
    assert np.allclose(np.sort(scores, axis=1)[:, ::-1], exact[:, :5])
    assert np.allclose(floors, exact[:, 5])
    assert places.shape == (2, 5)
