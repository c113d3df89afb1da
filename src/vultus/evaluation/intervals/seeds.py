"""A rate of a way of training, not of one trained network: the mean over seeds, and how sure it is.

Two things would come out differently another time: the people of the test set, and the seed of the training (start
weights, order of the crops, augmentation). Their variances are estimated apart and added.

    people   the variance of the mean over the seeds that there are, as `difference_interval` has it for one recogniser
    seeds    s^2 / k for k seeds, with one s^2 pooled over all ways of training that are compared: two or three seeds
             of one way alone say next to nothing about a variance
    95 %     the estimate +- t sqrt(people + seeds), t of Student's distribution with Satterthwaite's degrees of
             freedom, which are few where the seeds decide

A difference of two ways takes the same people for both, so what makes the test set easy or hard for both cancels.
Both sums are too wide, if anything: that seeds disagree on single photographs is in both variances, and that two ways
share a seed's start weights is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from vultus.evaluation.intervals.difference import difference_interval
from vultus.evaluation.intervals.spread import student_quantile
from vultus.evaluation.intervals.wilson import Interval

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class SeedResult:
    """One seed at one operating point.

    errors      (G,) false non-matches of each identity
    counts      (G,) mated comparisons of each identity, the same for all that is compared
    replicates  (R,) TAR in each resample of the identities, the same resamples for all that is compared
    """

    errors: np.ndarray
    counts: np.ndarray
    replicates: np.ndarray

    @property
    def tar(self) -> float:
        return 1 - float(self.errors.sum()) / float(self.counts.sum())


@dataclass(frozen=True)
class SeedSpread:
    """The pooled variance of a rate between seeds."""

    variance: float
    freedom: int
    """Degrees of freedom of `variance`: seeds beyond the first of each way of training. 0: nothing is known of it."""

    @classmethod
    def pooled(cls, rates: Sequence[Sequence[float]]) -> SeedSpread:
        """From the rates of each way's seeds; ways with one seed add nothing."""
        squares = sum(float(np.var(seeds)) * len(seeds) for seeds in rates if len(seeds))
        freedom = sum(len(seeds) - 1 for seeds in rates if len(seeds))
        return cls(squares / freedom if freedom else 0.0, freedom)


@dataclass(frozen=True)
class SeedEstimate:
    """A mean over seeds, or the difference of two."""

    value: float
    interval: Interval
    """95 %."""
    people_error: float
    """Standard error by the people of the test set."""
    seeds_error: float | None
    """Standard error by the seeds; None where one seed alone was trained, and the interval lacks it."""

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval excludes 0: for a difference."""
        return not self.interval[0] <= 0 <= self.interval[1]


def mean_over_seeds(seeds: Sequence[SeedResult], spread: SeedSpread) -> SeedEstimate:
    """Mean TAR of one way of training; an interval inside [0, 1]."""
    value = float(np.mean([seed.tar for seed in seeds]))
    errors, replicates, counts = _mean(seeds)
    # The rarer of the two, errors or matches, differs from a recogniser that has none of it.
    people = _people(counts - errors, counts, replicates) if value < 0.5 else _people(errors, counts, 1 - replicates)
    return _estimate(value, people, spread, 1 / len(seeds), (0.0, 1.0))


def difference_over_seeds(
    seeds: Sequence[SeedResult], others: Sequence[SeedResult], spread: SeedSpread
) -> SeedEstimate:
    """Mean TAR of `seeds` minus that of `others`; an interval inside [-1, 1]."""
    value = float(np.mean([seed.tar for seed in seeds]) - np.mean([seed.tar for seed in others]))
    (errors, replicates, counts), (other_errors, other_replicates, _) = _mean(seeds), _mean(others)
    people = _people(other_errors - errors, counts, replicates - other_replicates)
    return _estimate(value, people, spread, 1 / len(seeds) + 1 / len(others), (-1.0, 1.0))


def _mean(seeds: Sequence[SeedResult]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of each identity (G,) and replicates (R,), averaged over the seeds; counts (G,)."""
    errors = np.mean([seed.errors for seed in seeds], axis=0)
    return errors, np.mean([seed.replicates for seed in seeds], axis=0), seeds[0].counts


def _people(events: np.ndarray, counts: np.ndarray, replicates: np.ndarray) -> float:
    """The variance by the people of a rate with (G,) `events` of each, from the width of its interval over people."""
    low, high = difference_interval(events, counts, replicates, CONFIDENCE)
    return ((high - low) / 2 / NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)) ** 2


def _estimate(value: float, people: float, spread: SeedSpread, share: float, bounds: Interval) -> SeedEstimate:
    seeds = spread.variance * share
    total = people + seeds
    freedom = spread.freedom * (total / seeds) ** 2 if seeds > 0 else float("inf")
    half = student_quantile(0.5 + CONFIDENCE / 2, freedom) * sqrt(total)
    low, high = max(bounds[0], value - half), min(bounds[1], value + half)
    return SeedEstimate(value, (low, high), sqrt(people), sqrt(seeds) if spread.freedom else None)
