"""kill -9 of processes that write, at random times."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vultus.gallery import Gallery

from . import writer
from .observing import check_whole, nursery_in, observed

DELAY = 0.4
"""Seconds after its first acknowledgement in which a writer is killed."""


def rounds_of_killing(place: str | Path, folder: Path, rounds: int, seed: int = 0) -> dict[str, int]:
    """Kill a writer `rounds` times; how many operations were acknowledged, and what became of the last ones."""
    rng = np.random.default_rng(seed)
    counted = {"acknowledged": 0, "come about": 0, "not": 0, "between": 0}
    with nursery_in(folder) as nursery, writer.opened(str(place)) as gallery:
        gallery.create()
        state = writer.nothing()
        for number in range(rounds):
            process = nursery.start(place, state, first=1 + 1000 * number)
            process.after(1)
            wait = rng.uniform(0, DELAY)
            if number % 3 == 0:  # look while it writes: nothing half-written is to be seen
                observed(gallery._binding.store)
                gallery._binding.existing()
            time.sleep(wait)
            told = process.kill()
            assert told.failed is None
            after = check_whole(gallery, place, state, [told])
            acknowledged = state
            for what in told.done:
                acknowledged = writer.applied(acknowledged, what)
            ended = "between" if told.pending is None else "not" if after == acknowledged else "come about"
            counted[ended] += 1
            counted["acknowledged"] += len(told.done)
            state = after
    return counted


def test_a_killed_writer_loses_nothing_that_it_acknowledged(place, tmp_path):
    print(rounds_of_killing(place, tmp_path, 5))


@pytest.mark.slow
def test_fifty_killed_writers(place, tmp_path):
    counted = rounds_of_killing(place, tmp_path, 50, seed=1)
    print(counted)
    assert counted["not"] + counted["come about"] > 10, "most are killed in the midst of something"


def test_a_killed_writer_does_not_stop_another(place, tmp_path):
    two_writers(place, tmp_path, 1)


@pytest.mark.slow
def test_fifty_killed_beside_another(place, tmp_path):
    two_writers(place, tmp_path, 50)


def two_writers(place: str | Path, folder: Path, rounds: int) -> None:
    rng = np.random.default_rng(rounds)
    with nursery_in(folder) as nursery, writer.opened(str(place)) as gallery:
        gallery.create()
        state = writer.nothing()
        for number in range(rounds):
            first = nursery.start(place, state, first=1 + 2000 * number, prefix="a")
            second = nursery.start(place, state, first=1001 + 2000 * number, prefix="b")
            first.after(1)
            second.after(1)
            time.sleep(rng.uniform(0, DELAY / 2))
            told = first.kill()
            second.after(len(second.told().done) + 2)
            other = second.kill()
            assert told.failed is None and other.failed is None
            state = check_whole(gallery, place, state, [told, other])


def test_killed_while_it_makes_the_gallery(new_place, tmp_path):
    killed_while_making(new_place, tmp_path, 2)


@pytest.mark.slow
def test_fifty_killed_while_they_make_a_gallery(new_place, tmp_path):
    made = killed_while_making(new_place, tmp_path, 50)
    print(made)
    assert 0 < made < 50, "some before, some after"


def killed_while_making(new_place: Callable[[], str | Path], folder: Path, rounds: int) -> int:
    """Then there is a whole gallery or none, and the next process goes on; how many were made in time."""
    rng = np.random.default_rng(5)
    create = [{"kind": "create", "number": 0}]
    made = 0
    with nursery_in(folder) as nursery:
        begun = time.monotonic()
        nursery.start(new_place(), writer.nothing(), first=0, operations=create).gone()
        takes = time.monotonic() - begun
        for number in range(rounds):
            place = new_place()
            process = nursery.start(place, writer.nothing(), first=number, operations=create)
            end = time.monotonic() + rng.uniform(0, 1.3 * takes)
            while time.monotonic() < end and process.alive():
                time.sleep(0.002)
            told = process.kill()
            assert told.failed is None
            made += bool(told.done)
            with writer.opened(str(place)) as gallery:
                if told.done:
                    assert gallery._binding.live is not None, "it said that it was made"
                enrol(gallery)
                assert list(observed(gallery._binding.store)["people"]) == ["a1"]
                assert gallery.custody.verify_log() == []
    return made


def enrol(gallery: Gallery) -> None:
    writer.do(gallery, {"number": 1, "kind": "enrol", "person": "a1", "rows": 2, "name": "n", "consent": False})
