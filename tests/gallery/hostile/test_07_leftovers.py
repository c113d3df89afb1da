"""kill -9 of backups, exports and restores leaves nothing that names anybody, and no file after the next command."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vultus.files import drop_leftovers, writing
from vultus.gallery.custody import backup, catch_up, erase, export_person, restore
from vultus.gallery.store import Store

from ..custody.conftest import People

NAME = "zebedee-unmistakable"


def killed(act: Callable[[], object], after: float) -> None:
    """Do it again and again in a process of its own that is killed after so many seconds."""
    child = os.fork()
    if not child:
        try:
            while True:
                act()
        finally:
            os._exit(1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it was at work until then"


def naming(*folders: Path) -> list[Path]:
    """The files that hold the name in clear."""
    found = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return sorted(path for path in found if NAME.encode() in path.read_bytes())


def unfinished(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob(".*vultus-*")]


@pytest.fixture
def people(new_place):
    made = People(new_place())
    made.add(NAME, 3, name="Zebedee")
    for number in range(200):
        made.add(f"other-{number}")
    catch_up(made.store)
    yield made
    made.store.close()


def test_killed_at_work(people, tmp_path):
    rng = np.random.default_rng(0)
    state = people.store.state
    out, new = tmp_path / "out", tmp_path / "new"
    out.mkdir(), new.mkdir()
    place, key = people.place, people.store.key
    backup(people.store, tmp_path / "b.vultus")
    people.store.close()

    def fresh(folder: Path, suffix: str) -> Path:
        return folder / f"{time.monotonic_ns()}{suffix}"

    def back_up() -> None:
        store = Store.open(place, key)
        while True:
            backup(store, fresh(out, ".vultus"))

    def export() -> None:
        store = Store.open(place, key)
        while True:
            export_person(store, "staff", NAME, fresh(out, ".zip"))

    def put_back() -> None:
        restore(tmp_path / "b.vultus", fresh(new, ".db"), key, replay=False)

    for act in (back_up, export, put_back):
        for _ in range(4):
            killed(act, rng.uniform(0.05, 0.6))
            assert naming(out, state) == []
    people.store = Store.open(place, key)
    erase(people.store, "staff", NAME)
    assert unfinished(out, state) == [] and naming(out, state) == []
    for path in new.iterdir():  # galleries that were restored whole
        if path.name[0] != "." and path.is_file():
            path.unlink()
    restore(tmp_path / "b.vultus", new / "last.db", key, ledgers=[state / "erasures.jsonl"])
    assert unfinished(new) == [] and naming(new) == []


@pytest.mark.parametrize("nameless", [True, False])
def test_an_unfinished_file_goes_once_its_process_is_gone(tmp_path, monkeypatch, nameless):
    """Where the file system cannot keep a file without a name, it has one until it is whole."""
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)

    def write() -> None:
        with writing(tmp_path / "out.json", text=True) as file:
            file.write(NAME)
            file.flush()
            time.sleep(60)

    with writing(tmp_path / "mine.json") as mine:
        killed(write, 0.3)
        left = [path for path in naming(tmp_path) if path.name.startswith(".out.json-")]
        assert len(left) == (0 if nameless else 1)
        assert drop_leftovers(tmp_path) == left, "and not what is at work"
        mine.write(b"done")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]
    assert (tmp_path / "mine.json").read_bytes() == b"done"
