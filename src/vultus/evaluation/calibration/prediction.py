"""How far a false match rate moves from one group of people to another.

Comparisons that share a person err together: somebody who looks like many is falsely matched often. For a rate p let
c1 be the covariance of two non-mated comparisons that share one person, c2 that of two comparisons of the same two
people. Then a sample with N comparisons, of which A ordered pairs share one person and B ordered pairs share both, has

    Var(FMR) = (N p (1 - p) + A c1 + B c2) / N^2,

which is the variance of a U-statistic of two groups (Hoeffding 1948; Fogliato, Patil, Perona 2023, arXiv 2306.01198).
c1 and c2 are estimated by moments on the calibration's people, and give the variance in a sample of any other size.
They are widened as the calibration's own interval is, where it rests on few people (`intervals.Spread`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, log1p, sqrt

import numpy as np

from vultus.evaluation.comparisons import Comparisons, pair_key
from vultus.evaluation.intervals import Interval
from vultus.evaluation.intervals.dependence import least_non_mated
from vultus.evaluation.intervals.spread import Spread

Z = 1.959963984540054
"""97.5 % point of the normal distribution."""


@dataclass(frozen=True)
class Sample:
    """The size of a set of non-mated comparisons, as far as the variance of a rate depends on it."""

    comparisons: float
    share_one: float
    """Ordered pairs of comparisons that have exactly one person in common."""
    share_both: float
    """Ordered pairs of different comparisons of the same two people."""

    @classmethod
    def of(cls, comparisons: Comparisons) -> Sample:
        each = comparisons.non_mated.astype(np.float64)
        total, squares = float(each.sum() / 2), comparisons.squares
        return cls(total, float(each @ each) - 2 * squares, squares - total)

    @classmethod
    def independent(cls, comparisons: int) -> Sample:
        return cls(float(comparisons), 0.0, 0.0)

    @classmethod
    def all_pairs(cls, images: np.ndarray, people: np.ndarray) -> Sample:
        """Every image with every other: `images[k]` images (a positive real number) of each of `people[k]` people."""
        n, g = np.asarray(images, np.float64), np.asarray(people, np.float64)
        total, second, fourth = ((g * n**power).sum() for power in (1, 2, 4))
        squares = (second**2 - fourth) / 2
        each = (g * (n * (total - n)) ** 2).sum()
        pairs = (total**2 - second) / 2
        return cls(float(pairs), float(each - 2 * squares), max(0.0, float(squares - pairs)))


@dataclass(frozen=True)
class Covariances:
    """Relative covariances of two false matches, c1 / p^2 and c2 / p^2; never below 0."""

    shared: float
    """Of comparisons with one person in common: the squared variation of people's own false match rates."""
    repeated: float
    """Of comparisons of the same two people."""

    def relative_variance(self, fmr: float, sample: Sample) -> float:
        """Var(FMR) / FMR^2 in `sample`; its inverse is the effective number of false matches."""
        n = sample.comparisons
        alone = (1 - fmr) / (fmr * n)
        return alone + (self.shared * sample.share_one + self.repeated * sample.share_both) / n**2

    def widened(self, relative_variance: float, fmr: float, sample: Sample) -> Covariances:
        """Scaled so that they give `relative_variance` in `sample`."""
        alone = (1 - fmr) / (fmr * sample.comparisons)
        now, wanted = self.relative_variance(fmr, sample) - alone, max(0.0, relative_variance - alone)
        if now > 0:
            return Covariances(self.shared * wanted / now, self.repeated * wanted / now)
        return Covariances(wanted * sample.comparisons**2 / max(sample.share_one, 1.0), 0.0)


@dataclass(frozen=True)
class Measured:
    """Of the false matches at one threshold: what people share, and how sure the rate is."""

    covariances: Covariances
    effective: float
    """The effective number of comparisons, that of `intervals.non_mated_rate`."""


def measured(
    pairs: np.ndarray, false_matches: Sequence[int], comparisons: Comparisons, sample: Sample
) -> list[Measured]:
    """For each number of `false_matches` k > 0: estimated from the first k rows of `pairs`.

    pairs (K, 2): the two people of each non-mated comparison, highest score first. The same as `non_mated_rate` at
    each threshold, but one sort serves all of them: the sum of squared errors of the pairs of people grows by 2 r + 1
    with the r-th repetition of a pair.
    """
    each = comparisons.non_mated.astype(np.float64)
    people, n, least = len(each), sample.comparisons, least_non_mated(comparisons.non_mated)
    keys = pair_key(pairs[:, 0], pairs[:, 1], people)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    repetition = np.empty(len(keys), np.int64)
    repetition[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))
    squares = np.cumsum(2 * repetition + 1, dtype=np.float64)
    between = np.cumsum(comparisons.between(pairs[:, 0], pairs[:, 1]), dtype=np.float64)
    rest = 1 - each / n
    found = []
    for k in false_matches:
        p = k / n
        residual = (np.bincount(pairs[:k].ravel(), minlength=people) - p * each) ** 2
        by_person = float(residual.sum())
        by_pair = float(squares[k - 1] - 2 * p * between[k - 1]) + p * p * (sample.share_both + n)
        one = (by_person - 2 * by_pair) / max(sample.share_one, 1.0)
        both = (by_pair - n * p * (1 - p)) / max(sample.share_both, 1.0)
        plain = Covariances(max(0.0, one) / p**2, max(0.0, both) / p**2)
        effective = least
        if rest.min() > 0 and p < 1:
            corrected = residual / rest
            variances = (max(total - by_pair, by_pair) / n**2 for total in (by_person, float(corrected.sum())))
            spread = Spread(*variances, people=float(corrected.sum() ** 2 / max(corrected @ corrected, 1e-300)))
            effective = max(least, p * (1 - p) / spread.widened(p * (1 - p) / n, 0.95))
        widened = plain.widened((1 - p) / (p * effective), p, sample)
        found.append(Measured(widened, effective))
    return found


def prediction(fmr: float, effective: float, effective_new: float) -> Interval:
    """95 % interval of the FMR that will be seen in another sample, at a threshold measured to give `fmr`.

    `effective`: the effective number of false matches (1 / relative variance) behind `fmr`; `effective_new`: the same
    of the other sample. The interval holds every rate that differs from `fmr` by at most 1.96 standard errors of the
    difference, with the variance taken at the pooled rate: Krishnamoorthy and Peng's closed form for counts (J. Stat.
    Plan. Inference 141, 2011), which stays right at few errors, here with effective counts.
    """
    middle = 1 + Z * Z / (2 * effective)
    half = sqrt(middle * middle - 1 + Z * Z / effective_new)
    return fmr * max(0.0, middle - half), min(1.0, fmr * (middle + half))


def prediction_of_estimate(fmr: float, interval: Interval, effective_new: float) -> Interval:
    """The same for an `fmr` that was not counted but estimated, with a 95 % `interval` of its own.

    What a new sample may differ moves each end outwards, squares added on the log scale: an extrapolation is far less
    sure downwards than upwards.
    """
    change = Z / sqrt(effective_new)
    up = sqrt(log(interval[1] / fmr) ** 2 + log1p(change) ** 2)
    if change >= 1 or interval[0] <= 0:
        return 0.0, min(1.0, fmr * exp(up))
    down = sqrt(log(fmr / interval[0]) ** 2 + log1p(-change) ** 2)
    return fmr * exp(-down), min(1.0, fmr * exp(up))
