"""Whoever looks like somebody enrolled is named, at the rate of false alarms that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.evaluation import Calibration
from vultus.gallery.guards import duplicate_threshold, find_duplicates
from vultus.gallery.index import Hit
from vultus.gallery.rates import expected_fpir, search_threshold


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 0.1, 200_000), rng.normal(0.6, 0.1, 2000)]).clip(-1, 1)
    return Calibration.fit(scores, np.arange(len(scores)) >= 200_000, source="made up", contract_id="x")


def hit(person: int, score: float) -> Hit:
    return Hit(person, score, 100 * person)


def test_who_reaches_the_threshold_is_named_best_first(calibration: Calibration) -> None:
    hits = [[hit(1, 0.6), hit(2, 0.1)], [hit(3, 0.8), hit(1, 0.7)], [hit(2, 0.2), hit(1, 0.1)]]
    first, second = find_duplicates(hits, None, calibration, 0.01, 50)
    assert (first.person_id, first.score, first.template_id, first.row, first.agreeing) == (3, 0.8, 300, 1, 1)
    assert (second.person_id, second.score, second.row, second.agreeing, second.searched) == (1, 0.7, 1, 2, 3)


def test_the_person_is_no_duplicate_of_themselves(calibration: Calibration) -> None:
    assert find_duplicates([[hit(1, 0.9)]], 1, calibration, 0.01, 50) == ()
    assert len(find_duplicates([[hit(1, 0.9)]], 2, calibration, 0.01, 50)) == 1


def test_nothing_to_search_warns_of_nobody(calibration: Calibration) -> None:
    assert find_duplicates([], None, calibration, 0.01, 50) == ()
    assert find_duplicates([[], []], None, calibration, 0.01, 0) == ()


def test_each_further_photograph_counts_as_a_further_search(calibration: Calibration) -> None:
    (one,) = find_duplicates([[hit(1, 0.9)]], None, calibration, 0.01, 20)
    (three,) = find_duplicates([[hit(1, 0.9)], [], []], None, calibration, 0.01, 20)
    assert three.threshold.score > one.threshold.score
    assert three.threshold == search_threshold(calibration, 0.01, 60)


def test_strangers_with_several_photographs_warn_no_more_often_than_asked(calibration: Calibration) -> None:
    rng, templates, asked = np.random.default_rng(1), 20, 0.05
    for photographs in (1, 3, 5):
        warned = 0
        for scores in rng.normal(0, 0.1, (2000, photographs, templates)):
            hits = [[hit(int(row.argmax()), float(row.max()))] for row in scores]
            warned += bool(find_duplicates(hits, None, calibration, asked, templates))
        assert warned / 2000 < asked * 1.4


def test_beyond_the_calibration_the_warning_says_what_it_is_worth(calibration: Calibration) -> None:
    threshold = duplicate_threshold(calibration, 0.001, 10_000_000)
    assert threshold.score == calibration.threshold_at(calibration.floor).score
    assert threshold.fpir == pytest.approx(expected_fpir(calibration.floor, 10_000_000))
    assert (threshold.fpir or 0) > 0.001
    (found,) = find_duplicates([[hit(1, 0.99)]], None, calibration, 0.001, 10_000_000)
    assert found.threshold == threshold


def test_the_warning_is_one_line_without_who_it_is(calibration: Calibration) -> None:
    (found,) = find_duplicates([[hit(4711, 0.9)], [hit(4711, 0.2)]], None, calibration, 0.01, 50)
    assert str(found).startswith("1 of 2 new photographs look like somebody enrolled (score 0.900 >= ")
    assert "1.00% of strangers" in str(found)
    assert "4711" not in str(found) and "\n" not in str(found)
