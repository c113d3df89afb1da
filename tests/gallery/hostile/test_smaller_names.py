"""Names: one spelling, nothing invisible, and a warning where an id looks like that of somebody else."""

from __future__ import annotations

import pytest

from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.names import alike, clean_name


@pytest.mark.parametrize(
    "name",
    [
        "ali\u200bce",
        "al\u00adice",
        "\ufeffalice",
        "a\u200db",
        "a\u200cb",
        "alice\u200d",
        "a\ufe0f",
        "\U000e0061",
        "\u2800",
    ]
    + ["\u115f", "a\u034fb", "\ue000", "\u0378", "a\u2060b", "a\u202eb", "राम\u200c", "a\U000e0100", "a\x1b[2Jb"],
)
def test_what_cannot_be_seen_is_refused(name):
    with pytest.raises(VultusError) as caught:
        clean_name(name)
    assert caught.value.code == "name_characters"


@pytest.mark.parametrize("name", ["می\u200cخواهم", "क्\u200dष", "ශ්\u200dරී", "葛\U000e0100城", "Иван", "Ñandú", "李小龍"])
def test_joiners_and_variants_stay_where_a_script_needs_them(name):
    assert clean_name(name) == name


def test_spaces_are_of_one_kind():
    assert clean_name("\u00a0Anna\u2003 \u00a0Maria ") == "Anna Maria"


@pytest.mark.parametrize(
    ("enrolled", "new"),
    [("alice", "аlice"), ("аlice", "alice"), ("Alice", "alice"), ("p1", "pl"), ("bob", "b0b"), ("НАТО", "HATO")]
    + [("میخواهم", "می\u200cخواهم"), ("bob", "ｂob"), ("o'neil", "o’neil"), ("οα", "oa")],
)
def test_look_alikes_are_found(enrolled, new):
    assert enrolled in alike(new) and new not in alike(new)


def test_other_names_are_none():
    assert "alicia" not in alike("alice") and "josé" not in alike("jose")
    assert len(alike("o" * 200)) < 1000


def test_who_looks_like_somebody_enrolled_is_told(place, recognizer, picture):
    with Gallery.open(place, model=recognizer) as people:
        assert people.enroll("alice", picture(1)).namesakes == ()
        made = people.enroll("аlice", picture(2))
        assert made.namesakes == ("alice",) and made.templates == 1
        assert people.enroll("аlice", picture(2, 1)).namesakes == ()  # told when they are new
        assert people.enroll("bob", picture(3)).namesakes == ()
