"""The dependence-adjusted interval: by hand, beside plain loops, and at its ends."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.evaluation.comparisons import AllPairs, Listed
from vultus.evaluation.intervals import (
    beyond_tail_rate,
    independent_rate,
    mated_rate,
    non_mated_rate,
    people_interval,
    wilson,
)
from vultus.evaluation.intervals.spread import mated_spread, non_mated_spread, student_quantile


def test_the_mated_variance_by_hand():
    # Three people with 3 photographs each: 3 mated comparisons each; 3, 0, 0 errors. p = 1/3; residuals 2, -1, -1.
    # plain = (4 + 1 + 1) / 81. Each has a third of the comparisons: corrected = 6 / (1 - 1/3) / 81 = 1/9.
    # Squares 4 : 1 : 1 rest on 36 / 18 = 2 people.
    counts = np.array([3, 3, 3])
    spread = mated_spread(np.array([3, 0, 0]) - counts / 3, counts)
    assert spread is not None
    assert (spread.plain, spread.corrected, spread.people) == pytest.approx((6 / 81, 1 / 9, 2))
    # Independent: (1/3)(2/3)/9 = 2/81. Student's quantile at 2 degrees of freedom is 4.30265.
    widened = 2 / 81 + (1 / 9 - 2 / 81) * (4.302653 / 1.959964) ** 2
    assert spread.widened(2 / 81, 0.95) == pytest.approx(widened, rel=1e-5)
    # That would leave (2/9) / 0.44 = 0.5 comparisons; three people who agree with themselves are worth three.
    rate = mated_rate(np.array([3, 0, 0]), AllPairs(counts))
    assert (rate.errors, rate.trials, rate.effective) == (3, 9, 3)
    # One person of three errs, on each of three layers.
    assert rate.interval == pytest.approx(wilson(1, 3))
    # 2, 1, 0 errors: two people of three on the first layer, one on the second, none on the third.
    first, second = wilson(2, 3), wilson(1, 3)
    both = ((first[0] + second[0]) / 3, (first[1] + second[1]) / 3)
    assert people_interval(np.array([2, 1, 0]), counts) == pytest.approx(both)
    assert mated_rate(np.array([2, 1, 0]), AllPairs(counts)).interval == pytest.approx((both[0], wilson(3, 9)[1]))


def test_the_non_mated_variance_by_hand():
    # Three people, one photograph each: comparisons 01, 02, 12; only 01 matches. p = 1/3, residuals r01 = 2/3,
    # r02 = r12 = -1/3; R = 1/3, 1/3, -2/3. Sum of R^2 = 6/9, of r^2 = 6/9: their difference is 0, so different pairs
    # count as uncorrelated and the variance is 6/9 / 9.
    spread = non_mated_spread(np.array([0]), np.array([1]), AllPairs(np.array([1, 1, 1])))
    assert spread is not None
    assert spread.plain == pytest.approx(6 / 81)
    # Each takes part in 2 of the 3: the squares of R count three times, 18/9 - 6/9 = 12/9.
    assert spread.corrected == pytest.approx(12 / 81)
    assert spread.people == pytest.approx((1 + 1 + 4) ** 2 / (1 + 1 + 16))


@settings(max_examples=40)
@given(st.lists(st.integers(1, 3), min_size=3, max_size=6), st.integers(0, 10**6))
def test_the_variance_is_the_sum_over_all_comparisons_that_share_a_person(images, seed):
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(len(images)), images)
    apart = np.array([(a, b) for a, b in combinations(owners, 2) if a != b])
    wrong = rng.random(len(apart)) < 0.4
    residuals = wrong - wrong.mean()
    total = sum(
        residuals[k] * residuals[m]
        for k in range(len(apart))
        for m in range(len(apart))
        if set(apart[k]) & set(apart[m])
    )
    same = sum(
        residuals[k] * residuals[m]
        for k in range(len(apart))
        for m in range(len(apart))
        if set(apart[k]) == set(apart[m])
    )
    spread = non_mated_spread(apart[wrong, 0], apart[wrong, 1], AllPairs(np.array(images)))
    assert spread is not None
    assert spread.plain * len(apart) ** 2 == pytest.approx(max(total, same), abs=1e-9)


def test_a_list_of_the_same_comparisons_gives_the_same_interval():
    owners = np.repeat(np.arange(6), [1, 2, 3, 2, 1, 4])
    pairs = np.array(list(combinations(owners, 2)))
    apart = pairs[pairs[:, 0] != pairs[:, 1]]
    wrong = apart[::7]
    listed = Listed(np.random.default_rng(0).permuted(pairs, axis=1), 6)
    images = AllPairs(np.bincount(owners))
    assert non_mated_rate(wrong[:, 0], wrong[:, 1], listed) == non_mated_rate(wrong[:, 1], wrong[:, 0], images)
    errors = np.array([0, 1, 2, 0, 0, 3])
    assert mated_rate(errors, listed) == mated_rate(errors, images)


def test_errors_of_one_person_say_less_than_errors_of_many():
    images = np.full(50, 4)  # 6 mated comparisons each
    spread_out, heaped = np.zeros(50, int), np.zeros(50, int)
    spread_out[:30], heaped[:5] = 1, 6
    wide, narrow = mated_rate(heaped, AllPairs(images)), mated_rate(spread_out, AllPairs(images))
    assert wide.value == narrow.value == 0.1
    assert wide.interval[0] < narrow.interval[0] < 0.1 < narrow.interval[1] < wide.interval[1]
    assert narrow.interval == wilson(30, 300)  # nobody errs twice: no narrower than independent ones
    # One person who matches everybody, or 49 matches of different people.
    others = np.arange(1, 50)
    one = non_mated_rate(np.zeros(49, int), others, AllPairs(np.ones(50, int)))
    many = non_mated_rate(np.arange(49), others, AllPairs(np.ones(50, int)))
    assert one.interval[1] > 3 * many.interval[1]


def test_no_errors_leave_the_worst_dependence_open():
    # Without errors nothing shows that a person's comparisons differ: 20 people, and 10 disjoint pairs of them.
    images = AllPairs(np.full(20, 3))
    none = np.empty(0, int)
    assert mated_rate(np.zeros(20, int), images).effective == pytest.approx(20)
    assert non_mated_rate(none, none, AllPairs(np.ones(20, int))).effective == pytest.approx(10)
    assert mated_rate(np.full(20, 3), images).interval == pytest.approx(wilson(20, 20))
    # A person with most of the photographs: hardly more than one person.
    assert mated_rate(np.zeros(20, int), AllPairs(np.array([100] + [2] * 19))).effective == pytest.approx(
        1.01, abs=0.01
    )


def test_false_matches_beyond_the_kept_tail_depend_at_least_as_much():
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(60), 4)
    apart = np.array([(a, b) for a, b in combinations(owners, 2) if a != b])
    looks = rng.normal(size=60)
    apart = apart[np.argsort(0.4 * looks[apart].sum(axis=1) + rng.normal(size=len(apart)))]
    images = AllPairs(np.full(60, 4))
    whole, tail = apart[-6000:], apart[-1000:]
    true = non_mated_rate(whole[:, 0], whole[:, 1], images)
    told = beyond_tail_rate(6000, tail[:, 0], tail[:, 1], images)
    assert (told.errors, told.trials) == (true.errors, true.trials)
    assert told.effective == pytest.approx(true.effective, rel=0.5)
    assert told.effective < non_mated_rate(tail[:, 0], tail[:, 1], images).effective < true.trials / 10
    with pytest.raises(ValueError, match=r"1001\.\.28320"):
        beyond_tail_rate(1000, tail[:, 0], tail[:, 1], images)


def test_one_person_in_all_comparisons_is_one_person():
    alone = Listed(np.array([[0, 0]] * 10 + [[0, k] for k in range(1, 9)]), 9)
    errors = np.zeros(9, int)
    errors[0] = 5
    assert mated_rate(errors, alone).effective == 1
    star = non_mated_rate(np.zeros(4, int), np.arange(1, 5), alone)
    assert star.effective == pytest.approx(2 * 64 / (64 + 8))


def test_nothing_to_compare_says_nothing():
    one_each = AllPairs(np.ones(3, int))
    assert mated_rate(np.zeros(3, int), one_each).interval == (0, 1)
    assert np.isnan(mated_rate(np.zeros(3, int), one_each).value)
    none = np.empty(0, int)
    assert non_mated_rate(none, none, AllPairs(np.array([5]))).interval == (0, 1)
    assert independent_rate(0, 0).interval == (0, 1)


def test_impossible_counts_are_refused():
    images = AllPairs(np.array([2, 2]))
    with pytest.raises(ValueError, match="none above"):
        mated_rate(np.array([2, 0]), images)
    with pytest.raises(ValueError, match="at most 4"):
        non_mated_rate(np.zeros(5, int), np.ones(5, int), images)


@settings(max_examples=60)
@given(st.lists(st.integers(2, 5), min_size=3, max_size=12), st.integers(0, 10**6), st.floats(0, 1))
def test_the_interval_holds_the_rate_and_is_never_narrower_than_independent_ones(images, seed, share):
    counts = AllPairs(np.array(images))
    errors = np.random.default_rng(seed).binomial(counts.mated, share)
    rate = mated_rate(errors, counts)
    low, high = rate.interval
    assert 0 <= low <= rate.value <= high <= 1
    assert 1 - 1e-9 <= rate.effective <= rate.trials * (1 + 1e-9)
    plain = wilson(rate.errors, rate.trials)
    assert low <= plain[0] + 1e-12
    assert high >= plain[1] - 1e-12
    assert mated_rate(errors, counts, 0.99).interval[1] >= high


@pytest.mark.parametrize(
    ("probability", "freedom", "quantile"),  # printed tables
    [(0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.975, 5, 2.57058), (0.95, 10, 1.81246), (0.995, 60, 2.66028)],
)
def test_student_quantiles(probability, freedom, quantile):
    assert student_quantile(probability, freedom) == pytest.approx(quantile, rel=1e-4)
