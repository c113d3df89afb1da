"""How sure a measured rate is."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil, sqrt
from statistics import NormalDist

Interval = tuple[float, float]

MINIMUM_ERRORS = 10
"""A false match rate is reported only where at least this many false matches are expected (rate x comparisons >= 10).

With 10 observed errors a 95 % Wilson interval still spans about a factor of three; below that the number misleads.
"""


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """The Wilson score interval (low, high), both in [0, 1], of a proportion of `successes` among `trials`.

    It stays inside [0, 1] and keeps a width at 0 and at 1 (0 of 10 gives [0, 0.278]). No trials: (0, 1).

    It assumes independent trials. Comparisons share images and identities, so over all pairs of a set it is too
    narrow: `mated_rate` and `non_mated_rate` count people. (E. B. Wilson, JASA 22, 1927.)
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie in 0..{trials}, not {successes}")
    return wilson_at(successes / trials if trials else 0.0, trials, confidence)


def wilson_at(rate: float, trials: float, confidence: float = 0.95) -> Interval:
    """The Wilson interval around `rate` for a number of independent trials that need not be whole."""
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z * sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / scale
    # Rounding may put an end a hair inside the rate.
    low = 0.0 if rate == 0 else min(rate, max(0.0, centre - half))
    high = 1.0 if rate == 1 else max(rate, min(1.0, centre + half))
    return low, high


def join(intervals: Iterable[Interval]) -> Interval:
    """The smallest interval that holds all of them."""
    lows, highs = zip(*intervals, strict=True)
    return min(lows), max(highs)


def allowed_errors(rate: float, comparisons: int) -> int:
    """The largest number of errors k with k / comparisons <= rate; binary rounding of rate x comparisons aside."""
    k = int(rate * comparisons)
    while k / comparisons > rate:
        k -= 1
    while (k + 1) / comparisons <= rate:
        k += 1
    return k


def is_supported(rate: float, comparisons: int) -> bool:
    """Whether rate x comparisons >= 10."""
    return comparisons > 0 and allowed_errors(rate, comparisons) >= MINIMUM_ERRORS


def needed_comparisons(rate: float) -> int:
    """The number of comparisons that supports `rate`: ceil(10 / rate), with `rate` read as the decimal it prints as."""
    return ceil(MINIMUM_ERRORS / Fraction(repr(float(rate))))
