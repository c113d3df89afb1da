"""kill -9 of the PostgreSQL server and all its processes while somebody writes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from . import writer
from .observing import check_whole, nursery_in, observed


@pytest.fixture
def address(postgresql):
    made = postgresql.fresh()
    yield made
    postgresql.give_back(made)


def test_a_killed_server_loses_nothing_acknowledged(postgresql, address, tmp_path):
    rounds_of_killing(postgresql, address, tmp_path, 5)


@pytest.mark.slow
def test_a_server_killed_fifty_times(postgresql, address, tmp_path):
    counted = rounds_of_killing(postgresql, address, tmp_path, 50, seed=1)
    print(counted)
    assert counted["broken off"] > 25, "most operations were under way when the server was killed"


def rounds_of_killing(postgresql, address: str, folder: Path, rounds: int, seed: int = 0) -> dict[str, int]:
    """Kill the server `rounds` times; the gallery that stays open in this process works on, without opening it anew."""
    rng = np.random.default_rng(seed)
    counted = {"acknowledged": 0, "broken off": 0, "come about": 0}
    with nursery_in(folder) as nursery, writer.opened(address) as gallery:
        gallery.create()
        state = writer.nothing()
        for number in range(rounds):
            process = nursery.start(address, state, first=1 + 1000 * number)
            process.after(1)
            time.sleep(rng.uniform(0, 0.4))
            try:
                postgresql.kill()
                process.gone()
            finally:
                postgresql.start()
            told = process.told()
            assert told.failed is not None and len(told.failed.splitlines()) == 1
            assert "gallery postgresql://" in told.failed and postgresql.password not in told.failed
            assert gallery.persons() is not None, "the pool notices that its connections are dead"
            assert observed(gallery._binding.store)["people"].keys() == {p.external_id for p in gallery.persons()}
            state_before, state = state, check_whole(gallery, address, state, [told])
            acknowledged = state_before
            for what in told.done:
                acknowledged = writer.applied(acknowledged, what)
            counted["acknowledged"] += len(told.done)
            counted["broken off"] += told.pending is not None
            counted["come about"] += state != acknowledged
    return counted


def test_a_write_without_a_server_says_so_and_works_once_there_is_one(postgresql, address):
    with writer.opened(address) as gallery:
        enrolment = {"kind": "enrol", "person": "a1", "rows": 2, "name": "n", "consent": False}
        writer.do(gallery, {"number": 1, **enrolment})
        before = observed(gallery._binding.store)
        try:
            postgresql.kill()
            for attempt in (lambda: writer.do(gallery, {"number": 2, **enrolment}), gallery.persons, gallery.describe):
                with pytest.raises(writer.VultusError, match=r"gallery postgresql://.*; ") as error:
                    attempt()
                assert len(str(error.value).splitlines()) == 1
        finally:
            postgresql.start()
        assert observed(gallery._binding.store) == before
        writer.do(gallery, {"number": 2, **enrolment})
        assert observed(gallery._binding.store)["people"]["a1"]["templates"] == {"1": 2, "2": 2}
