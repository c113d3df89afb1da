"""How far a rate may lie from the truth because its comparisons share people: the variance, and who it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import NormalDist

import numpy as np

from vultus.evaluation.comparisons import Comparisons, pair_key


@dataclass(frozen=True)
class Spread:
    """The variance of a rate, from the residuals of its identities.

    plain      the sum of the squared residuals over the squared number of comparisons (the published formula)
    corrected  the same, each square divided by 1 - the identity's share of the comparisons: an identity with many of
               them draws the rate to itself, and its residual comes out too small (Bell and McCaffrey's CR2). Where
               all identities are alike this is the familiar G / (G - 1)
    people     how many identities it rests on, (sum of squares)^2 / sum of their squares: the degrees of freedom. With
               a few, the variance is itself a guess
    """

    plain: float
    corrected: float
    people: float

    def widened(self, independent: float, confidence: float) -> float:
        """The variance that Wilson's formula should be given.

        What goes beyond `independent` (the variance of as many independent comparisons) is only as sure as the few
        people it comes from: their Student quantile stands in for the normal one, as Korn and Graubard (1998) do for
        surveys. Sharing people makes comparisons no more informative, so a smaller estimate is noise and is raised.
        """
        excess = max(0.0, self.corrected - independent)
        normal = NormalDist().inv_cdf(0.5 + confidence / 2)
        return independent + excess * (student_quantile(0.5 + confidence / 2, self.people) / normal) ** 2


def mated_spread(residuals: np.ndarray, counts: np.ndarray) -> Spread | None:
    """From (G,) errors - rate x comparisons; None where one identity has all comparisons."""
    total = float(counts.sum())
    share = counts / total
    if share.max() == 1:
        return None
    squares = residuals**2 / (1 - share)
    return Spread(float(residuals @ residuals) / total**2, float(squares.sum()) / total**2, _people(squares))


def non_mated_spread(first: np.ndarray, second: np.ndarray, comparisons: Comparisons) -> Spread | None:
    """From the identities of each false match; None where one identity takes part in all comparisons.

    With r_ij = E_ij - p N_ij and R_i their sum over j, the covariance of all pairs that share an identity is
    sum_i R_i^2 - sum_{i<j} r_ij^2: pairs that share one identity once, each pair itself once. That of different pairs
    is taken as 0 where it comes out negative.
    """
    counts = np.asarray(comparisons.non_mated, dtype=np.float64)
    identities, total = len(counts), float(counts.sum()) / 2
    share = counts / total
    if share.max() == 1:
        return None
    rate = len(first) / total
    errors = np.bincount(first, minlength=identities) + np.bincount(second, minlength=identities)
    residuals = errors - rate * counts
    keys, found = np.unique(pair_key(first, second, identities), return_counts=True)
    between = comparisons.between(keys // identities, keys % identities)
    pairs = float(found @ found) - 2 * rate * float(found @ between) + rate**2 * comparisons.squares
    squares = residuals**2 / (1 - share)
    plain, corrected = (float(total_squares) - pairs for total_squares in (residuals @ residuals, squares.sum()))
    return Spread(max(plain, pairs) / total**2, max(corrected, pairs) / total**2, _people(squares))


def _people(squares: np.ndarray) -> float:
    largest = float(squares.max(initial=0.0))
    if largest == 0:
        return 1.0
    relative = squares / largest
    return float(relative.sum() ** 2 / (relative @ relative))


@lru_cache(maxsize=4096)
def student_quantile(probability: float, freedom: float) -> float:
    """Student's t quantile for a probability in [0.5, 1) and freedom >= 1 that need not be whole.

    With t = sqrt(freedom) tan(angle) the density is cos(angle)^(freedom - 1): summed on a fine grid (error below
    5e-4). From 50 on, the expansion around the normal quantile (Abramowitz and Stegun 26.7.5; error below 1e-4).
    """
    if freedom >= 50:
        z = NormalDist().inv_cdf(probability)
        first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
        return z + first / freedom + second / freedom**2
    angle = np.linspace(0, np.pi / 2, 8193)
    density = np.cos(angle).clip(0) ** (freedom - 1)
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return sqrt(freedom) * float(np.tan(np.interp(2 * probability - 1, below / below[-1], angle)))
