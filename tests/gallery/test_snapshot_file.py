"""A snapshot is read as it was written, or not at all; nobody reads a row in it without the key."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.gallery.delta import Delta
from vultus.gallery.index import SnapshotError, Table, snapshot
from vultus.gallery.index.codes import MOST_ROWS, Codes
from vultus.gallery.protection.sealed_file import read_sealed, write_sealed

KEY = bytes(range(32))
ABOUT: dict[str, str | int] = {"collection": "6f0c", "contract": "sface", "number": 3}
NONE = np.empty(0, np.int64)


def some_rows(count: int, dim: int = 24) -> np.ndarray:
    rows = np.random.default_rng(5).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def filled(count: int = 500, tail: int = 64, dim: int = 24) -> Table:
    """All but the last 40 rows have codes."""
    table = Table(dim, tail=tail)
    rows, numbers = some_rows(count, dim), np.arange(count)
    for position, part in enumerate((numbers[:-40], numbers[-40:]), start=7):
        table.apply(Delta(position, position == 7, part, part // 3, rows[part], NONE, NONE))
    return table


def same(a: Table, b: Table) -> bool:
    def told(table: Table) -> list[object]:
        view = table.view()
        parts = [
            (part.rows.tolist(), part.template_ids.tolist(), part.person_ids.tolist(), part.slack)
            for part in view.parts
        ]
        codes = [part.codes.to_array().tobytes() if part.codes else b"" for part in view.parts]
        return [view.position, view.dim, parts, codes]

    return told(a) == told(b)


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    table = filled()
    table.save(tmp_path / "index", KEY, ABOUT)
    loaded = Table.load(tmp_path / "index", KEY, ABOUT)
    assert same(table, loaded)
    assert [part.codes is None for part in loaded.view().parts] == [False, True]
    probes = some_rows(520)[480:]
    for k, fusion, among in ((5, 1, None), (900, 1, None), (5, 2, None), (5, 1, np.arange(0, 160, 2))):
        mine, other = (one.view().search(probes, k, fusion=fusion, among=among) for one in (table, loaded))
        assert mine == other


def test_a_loaded_table_goes_on(tmp_path: Path) -> None:
    table = filled()
    table.save(tmp_path / "index", KEY, ABOUT)
    loaded = Table.load(tmp_path / "index", KEY, ABOUT)
    rows = some_rows(700)
    for other in (table, loaded):  # erased ones, one that comes again, many fresh ones
        other.apply(Delta(9, False, np.r_[3, 500:700], np.r_[1, 500:700], rows[np.r_[3, 500:700]], NONE, np.r_[0, 160]))
    assert loaded.position == 9
    assert len(loaded.view()) == len(table.view()) == 700 - 6
    assert loaded.view().search(rows[::10], 7) == table.view().search(rows[::10], 7)


@pytest.mark.parametrize("count", [5_200, MOST_ROWS + 10_000], ids=["padded", "two parts"])
def test_large_tables_come_back(tmp_path: Path, count: int) -> None:
    table = filled(count, dim=8)
    table.save(tmp_path / "index", KEY, ABOUT)
    loaded = Table.load(tmp_path / "index", KEY, ABOUT)
    assert same(table, loaded)
    probes = some_rows(count, 8)[-8:]
    assert loaded.view().search(probes) == table.view().search(probes)


def test_an_empty_table_has_a_snapshot(tmp_path: Path) -> None:
    table = Table(8)
    table.apply(Delta(4, True, NONE, NONE, np.empty((0, 8), np.float32), NONE, NONE))
    table.save(tmp_path / "index", KEY, ABOUT)
    assert same(table, Table.load(tmp_path / "index", KEY, ABOUT))


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    filled().save(tmp_path / "index", KEY, ABOUT)
    with pytest.raises(SnapshotError, match="another key"):
        Table.load(tmp_path / "index", KEY[::-1], ABOUT)


@pytest.mark.parametrize("about", [{}, ABOUT | {"contract": "arcface"}, ABOUT | {"more": 1}, ABOUT | {"number": "3"}])
def test_a_snapshot_of_something_else_is_refused(tmp_path: Path, about: dict[str, str | int]) -> None:
    filled().save(tmp_path / "index", KEY, ABOUT)
    with pytest.raises(SnapshotError, match="something else"):
        Table.load(tmp_path / "index", KEY, about)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="nowhere"):
        Table.load(tmp_path / "nowhere", KEY, ABOUT)
    with pytest.raises(SnapshotError):
        Table.load(tmp_path, KEY, ABOUT)
    assert issubclass(SnapshotError, VultusError)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    filled(60).save(path, KEY, ABOUT)
    whole = path.read_bytes()
    for length in [*range(120), *range(120, len(whole), 397), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotError):
            Table.load(path, KEY, ABOUT)
    path.write_bytes(whole + b"\0")
    with pytest.raises(SnapshotError):
        Table.load(path, KEY, ABOUT)


def test_a_bit_flipped_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "index"
    filled(60, tail=30).save(path, KEY, ABOUT)
    whole = bytearray(path.read_bytes())
    random = np.random.default_rng(1)
    start = 8 * np.arange(500) + random.integers(0, 8, 500)  # header, salt and nonces
    places = [*start.tolist(), *random.integers(0, 8 * len(whole), 500).tolist(), 8 * len(whole) - 1]
    for place in places:
        whole[place // 8] ^= 1 << place % 8
        path.write_bytes(whole)
        with pytest.raises(SnapshotError):
            Table.load(path, KEY, ABOUT)
        whole[place // 8] ^= 1 << place % 8
    path.write_bytes(whole)
    assert len(Table.load(path, KEY, ABOUT).view()) == 60


def test_a_snapshot_of_another_format_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index"
    monkeypatch.setattr(snapshot, "FORMAT", snapshot.FORMAT + 1)
    filled().save(path, KEY, ABOUT)
    monkeypatch.undo()
    with pytest.raises(SnapshotError):
        Table.load(path, KEY, ABOUT)


@pytest.mark.parametrize("wrong", ["arrays", "ids", "codes", "slacks", "no slacks", "dim"])
def test_what_does_not_fit_this_release_is_built_anew(tmp_path: Path, wrong: str) -> None:
    """Authentic, but written by a release with other ideas."""
    path = tmp_path / "index"
    filled().save(path, KEY, ABOUT)
    header, arrays = read_sealed(path, KEY)
    if wrong == "arrays":
        del arrays[-1]
    elif wrong == "ids":
        arrays[1] = arrays[1][:-1]
    elif wrong == "codes":
        arrays[3] = arrays[3][:-1]
    elif wrong == "slacks":
        header["slacks"] = ["much", None]
    elif wrong == "no slacks":
        del header["slacks"]
    else:
        header["dim"] = 25
    write_sealed(path, KEY, header, arrays)
    with pytest.raises(SnapshotError, match="built anew"):
        Table.load(path, KEY, ABOUT)


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"before")
    path.chmod(0o644)
    filled().save(path, KEY, ABOUT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_neither_rows_nor_codes_nor_ids_can_be_read_in_it(tmp_path: Path) -> None:
    table = Table(24, tail=64)
    rows, persons = some_rows(400), np.arange(400) + 0x1122334455667788
    table.apply(Delta(1, True, np.arange(360), persons[:360], rows[:360], NONE, NONE))
    table.apply(Delta(2, False, np.arange(360, 400), persons[360:], rows[360:], NONE, NONE))
    path = tmp_path / "index"
    table.save(path, KEY, ABOUT)
    content = path.read_bytes()
    coded, fresh = table.view().parts
    assert coded.codes is not None and fresh.codes is None
    packed = Codes.of(coded.rows).to_array().tobytes()
    needles = [row.tobytes()[at : at + 8] for row in rows for at in range(0, 96, 8)]
    needles += [row.astype(np.float16).tobytes()[:8] for row in rows]
    needles += [person.tobytes() for person in persons]
    needles += [packed[at : at + 8] for at in range(0, len(packed), 8) if len(set(packed[at : at + 8])) > 4]
    assert len(needles) > 5_000
    assert not any(needle in content for needle in needles)


def test_a_snapshot_replaces_the_last_one_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index"
    first, second = filled(100), filled(300)
    first.save(path, KEY, ABOUT)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(SnapshotError, match="No space left"):
        second.save(path, KEY, ABOUT)
    assert same(first, Table.load(path, KEY, ABOUT))
    assert [file.name for file in tmp_path.iterdir()] == ["index"]
    monkeypatch.undo()
    with path.open("rb") as old:
        second.save(path, KEY, ABOUT)
        assert len(old.read()) < path.stat().st_size  # who reads the old one goes on reading it
    assert same(second, Table.load(path, KEY, ABOUT))


def test_a_table_can_be_saved_while_it_changes(tmp_path: Path) -> None:
    table = filled()
    view = table.view()
    table.apply(Delta(9, False, NONE, NONE, np.empty((0, 24), np.float32), NONE, np.array([1, 2])))
    snapshot.save(view, tmp_path / "index", KEY, ABOUT)
    assert same(filled(), Table.load(tmp_path / "index", KEY, ABOUT))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "no").write_text("a file is in the way")
    with pytest.raises(SnapshotError, match="cannot write"):
        filled().save(tmp_path / "no" / "index", KEY, ABOUT)
