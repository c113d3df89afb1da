"""A gallery with a few people, and what must hold when something went wrong with it."""

from __future__ import annotations

import pytest

from vultus.errors import VultusError
from vultus.gallery import Gallery

from .observing import check_index, observed
from .writer import do, opened

ENROL = {"kind": "enrol", "name": "n", "rows": 3, "consent": True}


@pytest.fixture
def gallery(place):
    with opened(str(place)) as gallery:
        fill(gallery)
        yield gallery


@pytest.fixture
def in_file(tmp_path):
    with opened(str(tmp_path / "people.db")) as gallery:
        fill(gallery)
        yield gallery


def fill(gallery: Gallery) -> None:
    for number, person in enumerate(("alice", "bob", "carol"), 1):
        do(gallery, {"number": number, "person": person, **ENROL})


def refused(gallery: Gallery, match: str, *attempts) -> None:
    """Each is one line, and nothing is changed by it."""
    before = observed(gallery._binding.store), gallery.custody.anchor()
    for attempt in attempts:
        with pytest.raises(VultusError, match=match) as error:
            attempt()
        assert len(str(error.value).splitlines()) == 1
    assert (observed(gallery._binding.store), gallery.custody.anchor()) == before
    assert gallery.custody.verify_log() == []


def enrolment(gallery: Gallery, number: int, person: str = "dave", rows: int = 3):
    return lambda: do(gallery, {"number": number, "person": person, **ENROL, "rows": rows})


def goes_on(gallery: Gallery) -> None:
    """Once the fault is gone, everything works and fits together."""
    do(gallery, {"number": 900, "person": "zoe", **ENROL})
    do(gallery, {"number": 901, "kind": "erase", "person": "carol"})
    with opened(gallery._binding.place.address) as fresh:
        state = observed(fresh._binding.store)
        assert "zoe" in state["people"] and "carol" not in state["people"]
        check_index(gallery, fresh, state)
        assert fresh.custody.verify_log() == []
