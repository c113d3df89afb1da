"""A table follows the change sequence; views of it stay what they were; who is erased is gone from its memory."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import ContractError
from vultus.gallery.delta import Delta
from vultus.gallery.index import Hit, Table, View
from vultus.gallery.index.part import Part

DIM = 16
ALL = np.random.default_rng(0).standard_normal((400, DIM)).astype(np.float32)
ALL /= np.linalg.norm(ALL, axis=1, keepdims=True)


def ids(values: Iterable[int] = ()) -> np.ndarray:
    return np.array(sorted(values), np.int64)


def delta(
    position: int,
    fresh: dict[int, int] | None = None,
    *,
    removed: Iterable[int] = (),
    erased: Iterable[int] = (),
    rebuild: bool = False,
) -> Delta:
    """`fresh`: person of each new template, whose row is that of ALL with the template's number."""
    templates = ids(fresh or {})
    persons = np.array([(fresh or {})[template] for template in templates.tolist()], np.int64)
    return Delta(position, rebuild, templates, persons, ALL[templates], ids(removed), ids(erased))


def told(view: View) -> dict[int, int]:
    """Person of each template; every row is that of its template."""
    found = {}
    for part in view.parts:
        assert np.array_equal(part.rows, ALL[part.template_ids])
        found |= dict(zip(part.template_ids.tolist(), part.person_ids.tolist(), strict=True))
    assert len(found) == len(view)
    return found


def best(held: dict[int, int], probe: int, k: int) -> list[Hit]:
    """By comparing everything."""
    scores = np.clip(np.einsum("ij,j->i", ALL, ALL[probe]), -1, 1)
    order = sorted(held, key=lambda template: (-scores[template], template))
    hits = {held[template]: Hit(held[template], float(scores[template]), template) for template in reversed(order)}
    return sorted(hits.values(), key=lambda hit: (-hit.score, hit.template_id))[:k]


def test_a_view_does_not_change_with_its_table() -> None:
    table = Table(DIM, tail=8)
    table.apply(delta(1, {n: n // 2 for n in range(6)}))
    small = table.view()
    table.apply(delta(2, {6: 3}))  # into the same tail
    table.apply(delta(3, {n: n for n in range(7, 40)}))  # gets codes
    coded = table.view()
    table.apply(delta(4, erased=[0, 12], removed=[5]))
    table.apply(delta(5, {n: 1 for n in range(50, 60)}, rebuild=True))
    assert told(small) == {n: n // 2 for n in range(6)}
    assert small.search(ALL[:1], 3)[0] == best({n: n // 2 for n in range(6)}, 0, 3)
    assert told(coded) == {n: n // 2 for n in range(6)} | {6: 3} | {n: n for n in range(7, 40)}
    assert coded.search(ALL[:1], 3)[0] == best(told(coded), 0, 3)
    assert told(table.view()) == {n: 1 for n in range(50, 60)}
    assert (small.position, coded.position, table.position) == (1, 3, 5)


def test_a_position_that_moves_alone_is_followed() -> None:
    table = Table(DIM)
    table.apply(delta(1, {1: 1}))
    table.apply(delta(9))
    assert table.position == table.view().position == 9
    assert told(table.view()) == {1: 1}


@pytest.mark.parametrize("tail", [0, 1_000], ids=["codes", "tail"])
def test_changes_told_twice_alter_nothing(tail: int) -> None:
    table = Table(DIM, tail=tail)
    first = delta(3, {n: n % 7 for n in range(60)})
    second = delta(5, {n: n % 7 for n in range(50, 80)}, removed=[4], erased=[6])  # overlaps the first
    for change in (first, first, second, second, first):
        table.apply(change)
    expected = {n: n % 7 for n in range(50) if n != 4 and n % 7 != 6} | {n: n % 7 for n in range(50, 80)}
    assert told(table.view()) == expected
    assert table.position == 5
    assert table.view().search(ALL[:4], 9) == [best(expected, probe, 9) for probe in range(4)]


def test_a_suspended_person_comes_back_with_the_same_templates() -> None:
    for tail in (0, 1_000):
        table = Table(DIM, tail=tail)
        table.apply(delta(1, {n: n // 3 for n in range(30)}))
        table.apply(delta(2, erased=[2]))  # suspended: for an index the same
        assert 2 not in told(table.view()).values()
        table.apply(delta(3, {6: 2, 7: 2, 8: 2}, erased=[2]))  # as the store tells of a resumed one
        assert told(table.view()) == {n: n // 3 for n in range(30)}
        assert table.view().search(ALL[7:8], 1)[0][0].template_id == 7


def test_a_rebuild_forgets_what_was_there_even_at_an_earlier_position() -> None:
    """A restored backup is behind what the table followed before."""
    table = Table(DIM, tail=4)
    table.apply(delta(10, {n: n for n in range(20)}))
    table.apply(delta(4, {n: n for n in range(3)}, rebuild=True))
    assert table.position == 4
    assert told(table.view()) == {0: 0, 1: 1, 2: 2}


def test_a_table_of_one_collection_can_be_emptied() -> None:
    table = Table(DIM, tail=4)
    table.apply(delta(1, {n: 0 for n in range(20)}))
    table.apply(delta(2, erased=[0]))
    assert len(table.view()) == 0
    assert table.view().search(ALL[:1]) == [[]]
    table.apply(delta(3, {30: 5}))
    assert [hit.person_id for hit in table.view().search(ALL[30:31])[0]] == [5]


@pytest.mark.parametrize(
    "rows",
    [np.full((1, DIM), np.nan), np.zeros((1, DIM)), np.full((1, DIM), 3e38), ALL[:2], ALL[:1, :8]],
    ids=["nan", "zero", "huge", "two rows for one id", "dimension"],
)
def test_rows_that_are_no_unit_vectors_are_refused_and_change_nothing(rows: np.ndarray) -> None:
    table = Table(DIM)
    table.apply(delta(1, {1: 1}))
    with pytest.raises(ContractError):
        table.apply(Delta(2, False, ids([2]), ids([2]), rows.astype(np.float32), ids(), ids([1])))
    assert (table.position, told(table.view())) == (1, {1: 1})


def test_a_change_that_fails_can_be_applied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example because memory ran out while codes were made."""
    table = Table(DIM, tail=8)
    table.apply(delta(1, {n: n // 2 for n in range(40)}))
    table.apply(delta(2, {40: 1}))
    change = delta(3, {n: n // 2 for n in range(41, 60)}, erased=[3], removed=[0])
    coded, calls = Part.coded, []

    def fails_once(part: Part) -> Part:
        calls.append(part)
        if len(calls) == 2:
            raise MemoryError
        return coded(part)

    monkeypatch.setattr(Part, "coded", fails_once)
    before = told(table.view())
    with pytest.raises(MemoryError):
        table.apply(change)
    assert (table.position, told(table.view())) == (2, before)
    table.apply(change)
    expected = {n: p for n, p in (before | {n: n // 2 for n in range(41, 60)}).items() if p != 3 and n != 0}
    assert told(table.view()) == expected


def numbers_in(table: Table) -> list[np.ndarray]:
    """Every array that can be reached from a table, and the content of its codes."""
    seen, waiting, arrays = set(), [table], []
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            arrays.append(thing)
            waiting += [] if thing.base is None else [thing.base]
        elif isinstance(thing, (list, tuple, dict)) or type(thing).__module__.startswith("vultus."):
            waiting += gc.get_referents(thing)
    arrays += [part.codes.to_array() for part in table.view().parts if part.codes]
    return arrays


@pytest.mark.parametrize("tail", [0, 1_000], ids=["codes", "tail"])
@pytest.mark.parametrize("erased", [0, 150, 299], ids=["first", "middle", "last"])
def test_an_erased_row_is_nowhere_in_the_table(tail: int, erased: int) -> None:
    table = Table(DIM, tail=tail)
    table.apply(delta(1, {n: n for n in range(300)}))
    table.view().search(ALL[:8])
    table.view().search(ALL[:8], among=ids(range(0, 300, 3)))  # orders rows by person, which is kept

    def holds(row: int) -> bool:
        return any(ALL[row].tobytes() in array.tobytes() for array in numbers_in(table))

    assert holds(erased)
    table.apply(delta(2, erased=[erased]))
    assert not holds(erased)
    assert holds(100)
    without = Table(DIM, tail=tail)
    without.apply(delta(2, {n: n for n in range(300) if n != erased}))
    for mine, other in zip(table.view().parts, without.view().parts, strict=True):
        mine_codes, other_codes = (part.codes.to_array() if part.codes else ids() for part in (mine, other))
        assert np.array_equal(mine_codes, other_codes)  # as if the row had never been there
        assert (mine.codes is None) == (tail > 0)
    assert not any(erased in array for array in numbers_in(table) if array.dtype == np.int64)


def test_removing_one_template_leaves_the_person() -> None:
    table = Table(DIM, tail=0)
    table.apply(delta(1, {1: 9, 2: 9, 3: 8}))
    table.apply(delta(2, removed=[1, 77]))
    assert told(table.view()) == {2: 9, 3: 8}
    assert table.view().count(ids([9])) == 1
    assert table.view().persons == 2


change = st.tuples(
    st.sampled_from(["enrol", "enrol", "enrol", "remove", "erase", "resume", "rebuild", "again"]),
    st.integers(0, 2**16),
    st.integers(1, 30),
)


@given(st.lists(change, max_size=25), st.sampled_from([0, 5, 40, 1_000]))
@settings(max_examples=60, deadline=None)
def test_any_changes_leave_what_a_dictionary_holds(changes: list[tuple[str, int, int]], tail: int) -> None:
    table, held, last, newest = Table(DIM, tail=tail), {}, None, 0
    for position, (kind, number, count) in enumerate(changes, start=1):
        random = np.random.default_rng(number)
        people = sorted(set(held.values()))
        some = random.permutation(people)[: 1 + count // 10].tolist()
        if kind == "enrol":
            fresh = {newest + n: int(random.integers(12)) for n in range(min(count, len(ALL) - newest))}
            newest += len(fresh)
            last = delta(position, fresh)
            held |= fresh
        elif kind == "remove":
            gone = random.permutation(sorted(held))[:count].tolist()
            last = delta(position, removed=gone)
            held = {template: person for template, person in held.items() if template not in gone}
        elif kind == "erase":
            last = delta(position, erased=some)
            held = {template: person for template, person in held.items() if person not in some}
        elif kind == "resume":
            last = delta(position, {t: p for t, p in held.items() if p in some}, erased=some)
        elif kind == "rebuild":
            held = {template: person for template, person in held.items() if random.integers(4)}
            last = delta(position, held, rebuild=True)
        if last is not None:
            table.apply(last)
        assert told(table.view()) == held
    for probe in (0, 399):
        assert table.view().search(ALL[probe : probe + 1], 3)[0] == best(held, probe, 3)


def test_threads_search_while_the_table_changes() -> None:
    """Every answer is that of some one state: pairs of templates come and go together."""
    table = Table(DIM, tail=16)
    table.apply(delta(1, {n: n for n in range(200)}))
    done = threading.Event()
    wrong: list[object] = []

    def searches(seed: int) -> None:
        random = np.random.default_rng(seed)
        position = 0
        try:
            while not done.is_set():
                view = table.view()
                if view.position < position:
                    wrong.append("went back")
                position = view.position
                probes = random.integers(0, 200, 2)
                for probe, hits in zip(probes.tolist(), view.search(ALL[probes], 5), strict=True):
                    if hits != best(told(view), probe, 5):
                        wrong.append((position, probe))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=searches, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for position in range(2, 30):
        pair = 200 + 2 * position
        table.apply(delta(position, {pair: pair, pair + 1: pair + 1}, erased=[position, pair - 20]))
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert table.position == 29


def test_threads_that_apply_wait_for_each_other() -> None:
    table = Table(DIM, tail=16)
    table.apply(delta(1, rebuild=True))
    changes = [delta(1, {10 * n + m: n for m in range(10)}) for n in range(40)]
    threads = [threading.Thread(target=table.apply, args=(change,)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(table.view()) == {10 * n + m: n for n in range(40) for m in range(10)}
