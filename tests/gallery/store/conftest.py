"""A store on each database, with one collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vultus.gallery.store import Collection, Store

from .people import new_collection


@pytest.fixture
def store(place: str | Path) -> Iterator[Store]:
    made = Store.create(place)
    yield made
    made.close()


@pytest.fixture
def collection(store: Store) -> Collection:
    return new_collection(store)
