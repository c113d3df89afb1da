"""A face between two people: what can be measured of it is told, and what cannot be prevented is not promised."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.guards import doubtful_templates, mated_threshold

UNGATED = {"gates": False}


def between(one: np.ndarray, other: np.ndarray, score: float) -> np.ndarray:
    """(1, D) the unit row on the way from `one` to `other` that scores `score` with `one`."""
    side = other - (other @ one) * one
    side /= np.linalg.norm(side)
    return (score * one + (1 - score**2) ** 0.5 * side)[None].astype(np.float32)


@pytest.fixture
def rows(recognizer, picture):
    """Embeddings of photographs: (victim's, victim's other, stranger's)."""
    faces = [recognizer.faces(picture(*which))[0] for which in ((1, 0), (1, 1), (2, 0))]
    return recognizer.embed(faces)


@pytest.fixture
def limits(recognizer) -> tuple[float, float]:
    """(what the guard asks, what nearly all photographs of one person score)."""
    usual = mated_threshold(recognizer.calibration)
    assert usual is not None and usual.fnmr <= 0.05
    return recognizer.calibration.threshold_at(0.01).score, usual.score


def test_a_morph_at_the_guards_limit_is_doubtful(place, recognizer, rows, limits) -> None:
    victim, _, stranger = rows
    morph = between(victim, stranger, limits[0] + 0.01)
    assert limits[0] + 0.01 < limits[1]
    with Gallery.open(place, model=recognizer, settings=UNGATED) as gallery:
        gallery.enroll_embeddings("victim", victim[None], recognizer.contract.id)
        made = gallery.enroll_embeddings("victim", morph, recognizer.contract.id, client_key="k")
        (doubt,) = made.doubtful
        assert doubt.codes == ("fits_badly",) and doubt.image == "embedding 0"
        again = gallery.enroll_embeddings("victim", morph, recognizer.contract.id, client_key="k")
        assert [one.codes for one in again.doubtful] == [("fits_badly",)]


def test_a_morph_with_somebody_enrolled_is_refused(place, recognizer, rows, limits) -> None:
    victim, _, stranger = rows
    morph = between(victim, stranger, limits[0] + 0.01)
    with Gallery.open(place, model=recognizer, settings=UNGATED) as gallery:
        gallery.enroll_embeddings("victim", victim[None], recognizer.contract.id)
        gallery.enroll_embeddings("stranger", stranger[None], recognizer.contract.id)
        with pytest.raises(VultusError) as refused:
            gallery.enroll_embeddings("victim", morph, recognizer.contract.id)
        assert refused.value.code == "like_somebody_else"
        assert "stranger" not in str(refused.value), "who it is like is not said"
        both = np.concatenate([rows[1:2], morph])
        made = gallery.enroll_embeddings("victim", both, recognizer.contract.id, skip_bad=True)
        assert (made.templates, [one.codes for one in made.skipped]) == (1, [("like_somebody_else",)])
        assert [one.score < limits[0] for one in made.duplicates] == [False]


def test_a_persons_own_photographs_raise_no_doubt(place, recognizer, picture) -> None:
    with Gallery.open(place, model=recognizer, settings=UNGATED) as gallery:
        for person in range(5):
            made = gallery.enroll(str(person), *(picture(person, sample) for sample in range(4)))
            assert (made.templates, made.doubtful) == (4, ())


def test_a_better_morph_is_beyond_reach(recognizer, rows, limits) -> None:
    """Stated in the documentation: halfway between two people is as good as a photograph of either."""
    victim, _, stranger = rows
    half = between(victim, stranger, 0.71)
    usual = mated_threshold(recognizer.calibration)
    assert usual is not None
    if usual.score < 0.71:
        assert doubtful_templates(half, victim[None], usual) == []
    assert float(half[0] @ stranger) > limits[0]


def test_doubts_need_somebody_to_differ_from(recognizer, rows) -> None:
    usual = mated_threshold(recognizer.calibration)
    assert usual is not None
    assert doubtful_templates(rows[:1], rows[:0], usual) == []
    found = doubtful_templates(rows[2:], rows[:2], usual, frozenset({0}))
    assert [(one.row, one.others, one.code) for one in found] == [(0, 2, "like_somebody_else")]
    assert "\n" not in found[0].reason
