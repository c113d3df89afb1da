from __future__ import annotations

import unicodedata

import pytest

from vultus.errors import VultusError
from vultus.gallery.names import clean_name, unknown_name


def test_a_name_has_one_spelling():
    decomposed = unicodedata.normalize("NFD", "  José Ångström ")
    assert clean_name(decomposed) == unicodedata.normalize("NFC", "José Ångström")


@pytest.mark.parametrize("name", ["李小龍", "محمد", "O'Neill; DROP TABLE persons", "می‌خواهم", "x" * 200])
def test_names_of_the_world_are_kept(name):
    assert clean_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b", "evil\u202egpj", "x" * 201, "\ud800", 7, None])
def test_impossible_names_are_one_line_errors(name):
    with pytest.raises(VultusError) as error:
        clean_name(name)
    assert "\n" not in str(error.value)


def test_an_unknown_name_suggests_the_nearest():
    assert "'Alice'" in str(unknown_name("alcie", ["Bob", "Alice"], "people.db"))
    assert "empty" in str(unknown_name("alice", [], "people.db"))
