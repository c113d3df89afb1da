"""Rates of a way of training: the mean over seeds, with the people of the test set and the seeds both unsure."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from vultus.evaluation.intervals.seeds import SeedSpread, difference_over_seeds, mean_over_seeds, student


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (2, 4.303), (4, 2.776), (12, 2.179), (1e6, 1.960)])
def test_students_t_as_in_the_tables(freedom: float, t: float) -> None:
    assert student(freedom) == pytest.approx(t, abs=6e-4)


def test_the_spread_of_seeds_is_pooled() -> None:
    # (0.1, 0.3): squares 0.01 + 0.01; (0.5, 0.5, 0.8): mean 0.6, squares 0.01 + 0.01 + 0.04; one seed adds nothing.
    spread = SeedSpread.pooled([[0.1, 0.3], [0.5, 0.5, 0.8], [0.9], []])
    assert spread.freedom == 3
    assert spread.variance == pytest.approx(0.08 / 3)


def test_a_mean_adds_people_and_seeds() -> None:
    # Over the resamples the mean of the two seeds is 0.4, 0.5, 0.6: variance 0.01. Seeds: 0.02 / 2 = 0.01, 1 degree.
    # Satterthwaite: 1 x (0.02 / 0.01)^2 = 4 degrees, t = 2.776, half the interval 2.776 x sqrt(0.02) = 0.3926.
    replicates = np.array([[0.3, 0.4, 0.5], [0.5, 0.6, 0.7]])
    found = mean_over_seeds([0.4, 0.6], replicates, SeedSpread(0.02, 1))
    assert found.value == pytest.approx(0.5)
    assert found.people_error == pytest.approx(0.1) and found.seeds_error == pytest.approx(0.1)
    assert found.interval == pytest.approx((0.5 - 0.3926, 0.5 + 0.3926), abs=1e-4)


def test_one_seed_leaves_the_people_alone_and_says_so() -> None:
    found = mean_over_seeds([0.5], np.array([[0.4, 0.5, 0.6]]), SeedSpread.pooled([[0.5], [0.7]]))
    assert found.seeds_error is None
    assert found.interval == pytest.approx((0.5 - 1.95996 * 0.1, 0.5 + 1.95996 * 0.1), abs=1e-5)


def test_a_difference_forgets_what_is_hard_for_both() -> None:
    hard = np.array([[0.1, -0.2, 0.05, 0.05]])  # the same people are hard for both
    found = difference_over_seeds([0.6], [0.5], 0.6 + hard, 0.5 + hard, SeedSpread(0.0, 0))
    assert found.value == pytest.approx(0.1)
    assert found.interval == pytest.approx((0.1, 0.1)) and found.beyond_noise
    both = difference_over_seeds([0.6], [0.5], 0.6 + hard, 0.5 + hard, SeedSpread(0.04, 6))
    assert both.seeds_error == pytest.approx(sqrt(2) * 0.2) and not both.beyond_noise


def test_intervals_stay_where_rates_can_be() -> None:
    wide = SeedSpread(0.5, 4)
    assert mean_over_seeds([0.99], np.array([[0.98, 1.0]]), wide).interval[1] == 1
    assert difference_over_seeds([0.01], [0.99], np.zeros((1, 2)), np.ones((1, 2)), wide).interval[0] == -1


@pytest.mark.parametrize(("people", "seeds"), [(0.03, 0.01), (0.01, 0.03), (0.02, 0.02)])
def test_intervals_cover_as_often_as_they_say(people: float, seeds: float) -> None:
    """Three ways with three seeds each and one test set, all normal; the difference of the first two is 0.05."""
    random, covered, trials = np.random.default_rng(0), 0, 1000
    for _ in range(trials):
        hard = random.normal(0, people, 3)  # of each way on this test set
        rates = np.array([0.5, 0.45, 0.6])[:, None] + hard[:, None] + random.normal(0, seeds, (3, 3))
        replicates = rates[:, :, None] + random.normal(0, people, (3, 1, 200))
        found = difference_over_seeds(
            rates[0].tolist(), rates[1].tolist(), replicates[0], replicates[1], SeedSpread.pooled(rates.tolist())
        )
        covered += found.interval[0] <= 0.05 <= found.interval[1]
    assert 0.93 <= covered / trials <= 0.97
