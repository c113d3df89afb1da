"""A rate of a way of training, not of one trained network: the mean over seeds, and how sure it is.

Two things would come out differently another time: the people of the test set, and the seed of the training (start
weights, order of the crops, augmentation). Their variances are estimated apart and added.

    people   the variance, over resampled identities, of the mean over the seeds that there are
    seeds    s^2 / k for k seeds, with one s^2 pooled over all ways of training that are compared: two or three seeds
             of one way alone say next to nothing about a variance
    95 %     the estimate +- t sqrt(people + seeds), t of Student's distribution with Welch and Satterthwaite's degrees
             of freedom, which are few where the seeds decide

A difference of two ways resamples the same identities for both, so what makes the test set easy or hard for both
cancels. Seeds are taken for independent: that two ways share a seed's start weights makes it too wide, if anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from vultus.evaluation.intervals.wilson import Interval


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


def mean_over_seeds(rates: Sequence[float], replicates: np.ndarray, spread: SeedSpread) -> SeedEstimate:
    """The mean of the rates (k,) of one way of training; an interval inside [0, 1].

    replicates: (k, R) the same rates in R resamples of the test identities, the same resamples for every seed.
    """
    value = float(np.mean(rates))
    people = float(np.var(replicates.mean(axis=0), ddof=1))
    return _estimate(value, people, spread, 1 / len(rates), (0.0, 1.0))


def difference_over_seeds(
    rates: Sequence[float],
    others: Sequence[float],
    replicates: np.ndarray,
    other_replicates: np.ndarray,
    spread: SeedSpread,
) -> SeedEstimate:
    """mean(rates) - mean(others), with R resamples that are the same ones for both; an interval inside [-1, 1]."""
    value = float(np.mean(rates) - np.mean(others))
    people = float(np.var(replicates.mean(axis=0) - other_replicates.mean(axis=0), ddof=1))
    return _estimate(value, people, spread, 1 / len(rates) + 1 / len(others), (-1.0, 1.0))


def _estimate(value: float, people: float, spread: SeedSpread, share: float, bounds: Interval) -> SeedEstimate:
    seeds = spread.variance * share
    total = people + seeds
    freedom = spread.freedom * (total / seeds) ** 2 if seeds > 0 else float("inf")
    half = student(freedom) * sqrt(total)
    low, high = max(bounds[0], value - half), min(bounds[1], value + half)
    return SeedEstimate(value, (low, high), sqrt(people), sqrt(seeds) if spread.freedom else None)


def student(freedom: float, confidence: float = 0.95) -> float:
    """The t with P(|T| <= t) = `confidence` for Student's T; degrees of freedom need not be whole.

    With T = sqrt(freedom) tan(a) the density of the angle a is proportional to cos(a)^(freedom - 1).
    """
    if freedom > 1e4:
        from statistics import NormalDist

        return NormalDist().inv_cdf(0.5 + confidence / 2)
    step = np.pi / 2 / 20_000
    angles = step * (np.arange(20_000) + 0.5)
    inside = np.cumsum(np.cos(angles) ** (freedom - 1))
    return sqrt(freedom) * float(np.tan(np.interp(confidence * inside[-1], inside, angles + step / 2)))
