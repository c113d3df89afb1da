"""Rates of a way of training: the mean over seeds, with the people of the test set and the seeds both unsure."""

from __future__ import annotations

from math import hypot, sqrt

import numpy as np
import pytest

from vultus.evaluation.intervals import wilson
from vultus.evaluation.intervals.seeds import (
    SeedEstimate,
    SeedResult,
    SeedSpread,
    difference_over_seeds,
    mean_over_seeds,
)


def alike(errors: list[int], each: int = 10) -> SeedResult:
    """Identities with `each` mated comparisons and these errors; replicates that add nothing."""
    counts = np.full(len(errors), each)
    return SeedResult(np.array(errors), counts, np.full(50, 1 - sum(errors) / counts.sum()))


def test_the_spread_of_seeds_is_pooled() -> None:
    # (0.1, 0.3): squares 0.01 + 0.01; (0.5, 0.5, 0.8): mean 0.6, squares 0.01 + 0.01 + 0.04; one seed adds nothing.
    spread = SeedSpread.pooled([[0.1, 0.3], [0.5, 0.5, 0.8], [0.9], []])
    assert spread.freedom == 3
    assert spread.variance == pytest.approx(0.08 / 3)


def test_people_and_seeds_add_up() -> None:
    # 100 people, half with 4 errors of 10, half with 6: TAR 0.5; two seeds that agree on it. Satterthwaite's degrees of
    # freedom of the sum are ((people + seeds) / seeds)^2, as the seeds have one; equal parts: 4, t = 2.776.
    seed = alike([4, 6] * 50)
    people = half_by_people() / 1.959964
    found = mean_over_seeds([seed, seed], SeedSpread(2 * people**2, 1))
    assert found.value == pytest.approx(0.5)
    assert (found.people_error, found.seeds_error) == pytest.approx((people, people))
    half = 2.776445 * sqrt(2) * people
    assert found.interval == pytest.approx((0.5 - half, 0.5 + half), abs=2e-4)


def test_one_seed_leaves_the_people_alone_and_says_so() -> None:
    found = mean_over_seeds([alike([4, 6] * 50)], SeedSpread.pooled([[0.5], [0.7]]))
    assert found.seeds_error is None
    assert found.interval == pytest.approx((0.5 - half_by_people(), 0.5 + half_by_people()), abs=1e-5)


def half_by_people() -> float:
    """Half the interval of 4 and 6 errors of 10: all 100 people err on four layers, 50 of them on two more."""
    low = (4 * wilson(100, 100)[0] + 2 * wilson(50, 100)[0]) / 10
    high = wilson(500, 1000)[1]  # wider than the layers' own
    return (hypot(0.5 - low, wilson(0, 1000)[1]) + high - 0.5) / 2


def test_a_difference_forgets_what_is_hard_for_both() -> None:
    # All photographs of every other person fail with both; of the others one of ten fails with the second as well.
    hard = [10, 0] * 50
    first, second = alike(hard), alike([10, 1] * 50)
    none = SeedSpread(0.0, 0)
    found = difference_over_seeds([first], [second], none)
    assert found.value == pytest.approx(0.05) and found.beyond_noise
    # alone, either is unsure by the 100 people: sqrt(0.25 / 100) = 0.05
    assert found.people_error < 0.01 and mean_over_seeds([first], none).people_error == pytest.approx(0.05, rel=0.05)
    with_seeds = difference_over_seeds([first], [second], SeedSpread(0.04, 6))
    assert with_seeds.seeds_error == pytest.approx(sqrt(2) * 0.2) and not with_seeds.beyond_noise


def test_intervals_stay_where_rates_can_be() -> None:
    wide, good, bad = SeedSpread(0.5, 4), alike([0] * 20), alike([10] * 20)
    assert mean_over_seeds([good], wide).interval[1] == 1 and mean_over_seeds([bad], wide).interval[0] == 0
    assert difference_over_seeds([bad], [good], wide).interval[0] == -1
    # without a single error, or match, the interval still has a width
    assert mean_over_seeds([good], SeedSpread(0.0, 0)).interval[0] < 0.99
    assert mean_over_seeds([bad], SeedSpread(0.0, 0)).interval[1] > 0.01


@pytest.mark.parametrize("seeds", [0.05, 0.4], ids=["people decide", "seeds decide"])
def test_intervals_cover_as_often_as_they_say(seeds: float) -> None:
    """Three ways with three seeds each; people, seeds and photographs drawn anew each time."""
    ways, random = np.array([0.0, -0.3, 0.5]), np.random.default_rng(1)

    def chances(people: int, worlds: int) -> np.ndarray:
        """(worlds, ways, 3 seeds, people): how likely a comparison of this person is to fail."""
        person = random.normal(0, 1, (worlds, 1, 1, people))
        taste = random.normal(0, 0.5, (worlds, 3, 1, people))  # who is hard for one way but not for another
        seed = random.normal(0, seeds, (worlds, 3, 3, 1))
        return 1 / (1 + np.exp(ways[:, None, None] + person + taste + seed))

    truth = chances(1, 200_000).mean(axis=(0, 2, 3))
    counts, trials, covered = random.geometric(0.2, 150), 600, np.zeros(2)
    draws = np.random.default_rng(2).multinomial(150, np.full(150, 1 / 150), 100)
    for world in chances(150, trials):
        errors = random.binomial(counts, world)
        tars = 1 - errors @ draws.T / (counts @ draws.T)
        results = [[SeedResult(errors[w, s], counts, tars[w, s]) for s in range(3)] for w in range(3)]
        spread = SeedSpread.pooled([[result.tar for result in way] for way in results])
        covered += [
            holds(mean_over_seeds(results[0], spread), 1 - truth[0]),
            holds(difference_over_seeds(results[0], results[1], spread), truth[1] - truth[0]),
        ]
    # A little too wide: that seeds disagree on single photographs is counted as people's and as seeds' variance.
    assert (covered / trials >= 0.93).all(), covered / trials


def holds(found: SeedEstimate, truth: float) -> bool:
    return bool(found.interval[0] <= truth <= found.interval[1])
