"""Resampled people: weights, rates and re-chosen thresholds, beside a plain loop over every comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest

from vultus.evaluation.comparisons import AllPairs, Listed
from vultus.evaluation.intervals import IdentityBootstrap, fnmr_at_far, join, mated_rate, percentile_interval
from vultus.evaluation.scores.pairs import PairScores, explicit_scores


@dataclass
class Simulated:
    pairs: np.ndarray  # (P, 2) identities of each comparison
    scores: np.ndarray  # (P,) float32

    @property
    def same(self) -> np.ndarray:
        return self.pairs[:, 0] == self.pairs[:, 1]

    def kept(self, images: np.ndarray) -> PairScores:
        same = self.same
        return explicit_scores(
            self.scores[same],
            self.scores[~same],
            mated_identity=self.pairs[same, 0],
            non_mated_identities=self.pairs[~same],
            comparisons=AllPairs(images),
        )


def simulated(images: np.ndarray, seed: int = 0, levels: int = 10**6) -> Simulated:
    """Scores with an effect of each person on the non-mated ones, rounded to `levels` in [0, 1] (few: many ties)."""
    rng = np.random.default_rng(seed)
    pairs = np.array(list(combinations(np.repeat(np.arange(len(images)), images), 2)))
    same, person = pairs[:, 0] == pairs[:, 1], rng.normal(0, 0.05, len(images))
    scores = 0.3 + np.where(same, 0.3, person[pairs].sum(axis=1)) + rng.normal(0, 0.12, len(pairs))
    return Simulated(pairs, (np.round(scores.clip(0, 1) * levels) / levels).astype(np.float32))


def loop_tar(data: Simulated, weights: np.ndarray, far: float) -> float:
    """The definition: each comparison w_i w_j times (mated ones w_i), the smallest threshold with FAR <= far."""
    same, w = data.same, weights.astype(int)
    times = np.where(same, w[data.pairs[:, 0]], w[data.pairs[:, 0]] * w[data.pairs[:, 1]])
    scores, allowed = data.scores[~same], far * times[~same].sum()
    candidates = [np.float32(-1), *np.nextafter(np.unique(scores), np.float32(2))]
    threshold = next(t for t in candidates if times[~same][scores >= t].sum() <= allowed)
    hit = data.scores[same] >= threshold
    return times[same][hit].sum() / times[same].sum()


IMAGES = np.array([1, 3, 2, 4, 5, 2, 3, 1, 6, 2, 3, 3])


@pytest.mark.parametrize("levels", [10**6, 12])
@pytest.mark.parametrize("far", [0.5, 0.1, 0.02])
def test_tar_at_far_is_that_of_a_loop_over_all_comparisons(levels, far):
    data = simulated(IMAGES, levels=levels)
    drawn = IdentityBootstrap(AllPairs(IMAGES), replicates=30, seed=1)
    found = drawn.tar_at_far(data.kept(IMAGES), far)
    assert found is not None
    np.testing.assert_allclose(found, [loop_tar(data, row, far) for row in drawn.weights])


def test_rates_at_a_threshold_are_those_of_a_loop():
    data = simulated(IMAGES)
    drawn = IdentityBootstrap(AllPairs(IMAGES), replicates=20)
    same, wrong = data.same, (data.scores >= 0.45) != data.same
    mated = drawn.mated(np.bincount(data.pairs[wrong & same, 0], minlength=len(IMAGES)))
    non_mated = drawn.non_mated(*data.pairs[wrong & ~same].T)
    for row, fnmr, fmr in zip(drawn.weights.astype(int), mated, non_mated, strict=True):
        owner, times = row[data.pairs[:, 0]], row[data.pairs[:, 0]] * row[data.pairs[:, 1]]
        assert fnmr == pytest.approx(owner[wrong & same].sum() / owner[same].sum())
        assert fmr == pytest.approx(times[wrong & ~same].sum() / times[~same].sum())


def test_the_same_people_are_drawn_for_every_rate_and_recogniser():
    drawn = IdentityBootstrap(AllPairs(IMAGES), replicates=40, seed=3)
    assert (drawn.weights.sum(axis=1) == len(IMAGES)).all()
    np.testing.assert_array_equal(drawn.weights, IdentityBootstrap(AllPairs(IMAGES), 40, seed=3).weights)
    other = drawn.over(Listed(np.array([[k, k] for k in range(12)] + [[0, 1]]), 12))
    assert other.weights is drawn.weights
    # Of the list's 12 mated comparisons each drawn person has one: with an error of person 0, its draws over 12.
    np.testing.assert_allclose(other.mated(np.eye(12, dtype=int)[0]), drawn.weights[:, 0] / 12)


def test_a_resample_without_comparisons_is_drawn_again():
    # Of two people one is drawn twice in half of all resamples, and nobody is left to tell apart.
    drawn = IdentityBootstrap(AllPairs(np.array([2, 2])), replicates=50)
    assert (drawn.weights == 1).all()
    # Only person 0 has mated comparisons.
    drawn = IdentityBootstrap(AllPairs(np.array([2, 1, 1])), replicates=50)
    assert (drawn.weights[:, 0] > 0).all()
    assert np.isfinite(drawn.mated(np.array([1, 0, 0]))).all()


def test_a_target_beyond_the_kept_scores_is_withheld():
    kept = simulated(IMAGES).kept(IMAGES)
    held = len(kept.tail) // 20
    assert kept.tail_identities is not None
    cut = replace(kept, tail=kept.tail[-held:], tail_identities=kept.tail_identities[-held:])
    drawn = IdentityBootstrap(AllPairs(IMAGES), replicates=40)
    assert drawn.tar_at_far(cut, 0.2) is None
    assert fnmr_at_far(cut, 0.2, drawn) is None
    # Just inside for the data themselves, but not for every resample.
    assert drawn.tar_at_far(cut, held / kept.non_mated) is None
    whole, part = drawn.tar_at_far(kept, 0.005), drawn.tar_at_far(cut, 0.005)
    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(whole, part)


def test_faces_that_were_not_found_are_lost_in_every_resample():
    pairs = np.array(list(combinations(np.repeat(np.arange(3), 2), 2)))
    same = pairs[:, 0] == pairs[:, 1]
    kept = explicit_scores(
        np.full(3, 0.9, np.float32),
        np.full(12, 0.1, np.float32),
        mated_identity=pairs[same, 0],
        non_mated_identities=pairs[~same],
        mated_failures=np.array([1, 0, 0]),
    )
    # Person 0 has two mated comparisons, one of them lost; the others one each.
    assert kept.comparisons is not None
    drawn = IdentityBootstrap(kept.comparisons, replicates=30)
    some, everything = drawn.tar_at_far(kept, 0.5), drawn.tar_at_far(kept, 1.0)
    assert some is not None
    assert everything is not None
    first, rest = drawn.weights[:, 0].astype(int), drawn.weights[:, 1:].astype(int).sum(axis=1)
    np.testing.assert_allclose(some, 1 - first / (2 * first + rest))
    # Everything passes at FAR 1, and the lost one is lost still.
    np.testing.assert_allclose(everything, 1 - first / (2 * first + rest))


def test_unknown_identities_give_no_interval():
    kept = explicit_scores(np.array([0.9]), np.array([0.1, 0.2]))
    assert IdentityBootstrap(AllPairs(np.array([2, 2])), 5).tar_at_far(kept, 0.5) is None


def test_a_threshold_chosen_on_the_data_widens_the_interval():
    images = np.full(30, 4)
    data = simulated(images)
    kept = data.kept(images)
    drawn = IdentityBootstrap(AllPairs(images), replicates=200)
    found = fnmr_at_far(kept, 0.002, drawn)
    threshold = kept.threshold(int(0.002 * kept.non_mated))
    lost = data.pairs[data.same & (data.scores < threshold), 0]
    fixed = mated_rate(np.bincount(lost, minlength=30), AllPairs(images))
    assert found is not None
    assert (found.errors, found.trials) == (fixed.errors, fixed.trials)
    assert found.bootstrap is not None
    assert found.interval == join([fixed.interval, found.bootstrap])
    assert found.interval[1] - found.interval[0] > fixed.interval[1] - fixed.interval[0]
    assert found.bootstrap[0] < found.value < found.bootstrap[1]


def test_percentiles():
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    with pytest.raises(ValueError, match="not a number"):
        percentile_interval(np.array([0.1, np.nan]))
