"""People filtered by what is recorded of them: the same people from both databases."""

from __future__ import annotations

import pytest

from vultus.errors import VultusError
from vultus.gallery.store import persons

from .people import enrol

PEOPLE = {
    "text": {"x": "1"},
    "integer": {"x": 1},
    "whole float": {"x": 1.0},
    "float": {"x": 0.1},
    "sum": {"x": 0.1 + 0.2},
    "true": {"x": True},
    "false": {"x": False},
    "zero": {"x": 0},
    "null": {"x": None},
    "missing": {"y": 1},
    "list": {"x": [1]},
    "object": {"x": {"x": 1}},
    "large": {"x": 2**53 + 1},
    "larger": {"x": 2**62},
    "words": {"x": 'Größe: 1\' "gut" \\ %s :key0 {at}'},
    "not a number": {"x": "one"},
    "empty": {"x": ""},
    'a "key"': {"k\"e'y": 1, "$.x": 1, "x.y": 1, "größe": 1, "back\\slash": 1, "%(x)s": 1, "0": 1},
}
CASES = [
    ({"x": "1"}, {"text"}),
    ({"x": 1}, {"integer", "whole float"}),
    ({"x": 1.0}, {"integer", "whole float"}),
    ({"x": 0.1}, {"float"}),
    ({"x": 0.1 + 0.2}, {"sum"}),
    ({"x": True}, {"true"}),
    ({"x": False}, {"false"}),
    ({"x": 0}, {"zero"}),
    ({"x": None}, {"null"}),
    ({"x": 2**53 + 1}, {"large"}),
    ({"x": 2**53}, set()),
    ({"x": 2**62}, {"larger"}),
    ({"x": PEOPLE["words"]["x"]}, {"words"}),
    ({"x": ""}, {"empty"}),
    ({"y": 1, "x": 1}, set()),
    ({"z": 1}, set()),
    ({}, set(PEOPLE)),
    *(({key: 1}, {'a "key"'}) for key in PEOPLE['a "key"']),
    (PEOPLE['a "key"'], {'a "key"'}),
]


def test_filters_mean_the_same(store, collection):
    ids = {name: enrol(store, collection, name, 0, metadata=metadata)[0].id for name, metadata in PEOPLE.items()}
    with store.reading() as connection:
        for where, expected in CASES:
            found = persons.matching(connection, collection, where)
            assert {name for name, i in ids.items() if i in found} == expected, where
            assert found.tolist() == sorted(found.tolist())
            assert {one.external_id for one in persons.listed(connection, collection, where)} == expected, where
        for where in ({"x": [1]}, {"x": {"x": 1}}):
            with pytest.raises(VultusError, match="cannot be filtered by 'x'"):
                persons.matching(connection, collection, where)


def test_metadata_comes_back_as_it_was_given(store, collection):
    for name, metadata in PEOPLE.items():
        assert enrol(store, collection, name, 0, metadata=metadata)[0].metadata == metadata
    with store.reading() as connection:
        assert {one.external_id: one.metadata for one in persons.listed(connection, collection)} == PEOPLE
