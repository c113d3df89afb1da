"""Paired differences of two recognisers, and the data that a statement would need."""

from __future__ import annotations

from itertools import combinations
from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import VultusError
from vultus.evaluation.comparisons import AllPairs, Listed
from vultus.evaluation.intervals import (
    Rate,
    compare_paired,
    difference_interval,
    effective_to_exclude,
    identities_to_exclude,
    needed_for,
    rule_of_thirty,
    rule_of_three,
    wilson,
    wilson_at,
)
from vultus.evaluation.scores.pairs import PairScores, explicit_scores

IMAGES = np.full(40, 4)


def recogniser(noise: float, images: np.ndarray = IMAGES) -> PairScores:
    """Every recogniser sees the same photographs, hard or easy for all; `noise` is its own."""
    shared, own = np.random.default_rng(0), np.random.default_rng(int(1000 * noise))
    pairs = np.array(list(combinations(np.repeat(np.arange(len(images)), images), 2)))
    same = pairs[:, 0] == pairs[:, 1]
    scores = 0.35 * same + shared.normal(0, 0.1, len(pairs)) + own.normal(0, noise, len(pairs))
    return explicit_scores(
        scores[same],
        scores[~same],
        mated_identity=pairs[same, 0],
        non_mated_identities=pairs[~same],
        comparisons=AllPairs(images),
    )


def test_the_better_recogniser_is_told_and_the_sign_says_which():
    good, bad = recogniser(0.02), recogniser(0.1)
    (found,) = compare_paired(good, bad, [0.01], replicates=200)
    assert found.a is not None
    assert found.b is not None
    assert found.value == pytest.approx(found.a - found.b)
    assert found.interval is not None
    assert found.value is not None
    assert 0 < found.interval[0] < found.value < found.interval[1]
    assert found.excludes_zero
    (other,) = compare_paired(bad, good, [0.01], replicates=200)
    assert other.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_equal_recognisers_are_not_told_apart_and_pairing_pays():
    first, second = recogniser(0.01), recogniser(0.011)
    (found,) = compare_paired(first, second, [0.01], replicates=200)
    assert found.interval is not None
    assert not found.excludes_zero
    tar = found.a or 0.0
    alone = wilson_at(tar, first.mated_comparisons)
    assert found.interval[1] - found.interval[0] < alone[1] - alone[0]


def test_one_recogniser_against_itself_leaves_what_so_few_people_cannot_show():
    scores = recogniser(0.05)
    (found,) = compare_paired(scores, scores, [0.01], replicates=50)
    # 240 comparisons without a difference: one on 1.6 % of them could have stayed unseen (Wilson, 0 of 240).
    assert (found.value, found.interval) == (0, pytest.approx((-0.01576, 0.01576), abs=1e-4))


def test_a_fixed_threshold_difference_by_hand():
    # Three people, 2 comparisons each; the second errs on one of the first person where the first does not.
    counts, better = np.array([2, 2, 2]), np.array([1, 0, 0])
    low, high = difference_interval(better, counts, np.full(10, 1 / 6))
    won, lost = wilson(1, 6), wilson(0, 6)
    by_people = (wilson(1, 3)[0] / 2, wilson(1, 3)[1] / 2)  # one of three people errs on the first of two layers
    down, up = 1 / 6 - min(won[0], by_people[0]), max(won[1], by_people[1]) - 1 / 6
    assert (low, high) == pytest.approx((1 / 6 - hypot(down, lost[1]), 1 / 6 + up))


def test_an_unsupported_far_is_withheld_with_what_it_needs():
    scores = recogniser(0.05)
    (found,) = compare_paired(scores, scores, [1e-6])
    assert (found.value, found.interval, found.needs, found.excludes_zero) == (None, None, 10_000_000, False)


def test_other_comparisons_are_refused():
    scores = recogniser(0.05)
    with pytest.raises(VultusError, match="40 and 39 identities"):
        compare_paired(scores, recogniser(0.05, IMAGES[1:]), [0.1])
    fewer = IMAGES.copy()
    fewer[7] = 3
    with pytest.raises(VultusError, match="identity 7 has 6 mated comparisons with one recogniser and 3"):
        compare_paired(scores, recogniser(0.05, fewer), [0.1])
    with pytest.raises(VultusError, match="identities"):
        compare_paired(scores, explicit_scores(np.array([0.9]), np.array([0.1])), [0.1])


def test_the_identities_that_a_rate_needs():
    # 1e-3 needs 10,000 comparisons. One photograph each: 142 people have 10,011 pairs, 141 have 9,870.
    assert needed_for(1e-3).identities is None
    found = needed_for(1e-3, AllPairs(np.ones(20, int)))
    assert (found.comparisons, found.identities) == (10_000, 142)
    # Three each: nine times the pairs, 48 people have 9 x 1,128 = 10,152; 47 have 9,729.
    assert needed_for(1e-3, AllPairs(np.full(20, 3))).identities == 48
    # A list grows with its people: 30 comparisons of 20 people, 10,000 of 6,667.
    rows = np.array([[k % 20, (k + 1) % 20] for k in range(30)])
    assert needed_for(1e-3, Listed(rows, 20)).identities == 6667


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_so_many_comparisons_just_exclude_the_goal(rate, goal):
    wanted = effective_to_exclude(rate, goal)
    if wanted is None or wanted > 1e12:
        return
    low, high = wilson_at(rate, wanted * 1.001)
    assert goal < low or goal > high
    low, high = wilson_at(rate, wanted * 0.999)
    assert low <= goal <= high


def test_the_identities_that_would_decide():
    # 4 errors of 100, worth 50: goal 2 % lies inside. z^2 0.02 x 0.98 / 0.02^2 = 188.2 are wanted: 3.77 times as many.
    rate = Rate(4, 100, wilson_at(0.04, 50), 50)
    assert rate.interval[0] < 0.02 < rate.interval[1]
    assert identities_to_exclude(rate, 0.02, identities=30) == 113
    assert identities_to_exclude(rate, 0.5, identities=30) == 30
    assert identities_to_exclude(rate, 0.04, identities=30) is None


def test_rules_of_three_and_thirty():
    assert rule_of_three(1000) == pytest.approx(3 / 1000, rel=0.01)
    assert rule_of_three(0) == 1
    assert (rule_of_thirty(29), rule_of_thirty(30)) == (False, True)
