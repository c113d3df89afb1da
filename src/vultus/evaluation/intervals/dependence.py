"""Error rates of comparisons that share people: the Wilson interval with the effective number of comparisons.

One person who photographs badly spoils all of that person's mated comparisons, and one who looks like many others is
in many false matches. The variance of a rate is therefore the sum of the covariances of all comparisons that share an
identity, estimated from each identity's errors minus rate x comparisons (Fogliato, Patil, Perona, "Confidence
Intervals for Error Rates in 1:1 Matching Tasks", arXiv 2306.01198). The effective number of comparisons
n* = p (1 - p) / Var(p) then takes the place of their number in Wilson's formula.

Where a few people have most of the photographs the published formula holds the truth in 84 to 87 % of data sets
instead of 95 %, and in 88 to 92 % with few false matches; `Spread` adds two corrections for that (93 to 95 %, 92 to
93 %). benchmarks/coverage.py measures all of it.
"""

from __future__ import annotations

from math import log

import numpy as np

from vultus.evaluation.comparisons import Comparisons
from vultus.evaluation.intervals.rate import Rate
from vultus.evaluation.intervals.spread import Spread, mated_spread, non_mated_spread
from vultus.evaluation.intervals.wilson import wilson, wilson_at


def mated_rate(errors_by_identity: np.ndarray, comparisons: Comparisons, confidence: float = 0.95) -> Rate:
    """The false non-match rate from the number of false non-matches of each identity, (G,) int."""
    counts = np.asarray(comparisons.mated, dtype=np.int64)
    errors = np.asarray(errors_by_identity, dtype=np.int64)
    if errors.shape != counts.shape or (errors < 0).any() or (errors > counts).any():
        raise ValueError("errors_by_identity must be (G,) counts, none above the identity's mated comparisons")
    total, wrong = int(counts.sum()), int(errors.sum())
    if total == 0:
        return independent_rate(0, 0, confidence)
    spread = mated_spread(errors - wrong / total * counts, counts)
    return _rate(wrong, total, spread, least_mated(counts), confidence)


def non_mated_rate(first: np.ndarray, second: np.ndarray, comparisons: Comparisons, confidence: float = 0.95) -> Rate:
    """The false match rate from the two identities, (K,) int each, of every false match."""
    counts = np.asarray(comparisons.non_mated, dtype=np.int64)
    total, wrong = int(counts.sum()) // 2, len(first)
    if wrong > total or len(second) != wrong:
        raise ValueError(f"first and second must name the identities of at most {total} false matches")
    if total == 0:
        return independent_rate(0, 0, confidence)
    return _rate(wrong, total, non_mated_spread(first, second, comparisons), least_non_mated(counts), confidence)


def beyond_tail_rate(
    errors: int, first: np.ndarray, second: np.ndarray, comparisons: Comparisons, confidence: float = 0.95
) -> Rate:
    """The false match rate of `errors` false matches, of which the identities of the K highest scores only are known.

    first, second (K,): the identities of the kept tail, by ascending score. The lower the threshold, the more the
    comparisons depend on each other, and their effective number falls about as a power of the number of false matches;
    the power of the last factor of ten inside the tail is carried on beyond it. An estimate: for three recognisers on
    LFW within a factor of 2.3 of the true one at 10 times the tail and of 6.5 at 100 times, where the number of
    comparisons is 8 to 1,300 times too large.
    """
    counts = np.asarray(comparisons.non_mated, dtype=np.int64)
    total, known = int(counts.sum()) // 2, len(first)
    if not known < errors <= total:
        raise ValueError(f"errors must lie in {known + 1}..{total}, not {errors}")
    least = effective = least_non_mated(counts)
    if known >= 100 and errors < total:
        tenth = known // 10
        few = non_mated_rate(first[-tenth:], second[-tenth:], comparisons, confidence).effective
        many = non_mated_rate(first, second, comparisons, confidence).effective
        power = max(0.0, log(few / many) / log(known / tenth))
        effective = max(least, many * (known / errors) ** power)
    return Rate(errors, total, wilson_at(errors / total, effective, confidence), effective)


def independent_rate(errors: int, trials: int, confidence: float = 0.95) -> Rate:
    """The rate where nobody knows whose comparisons they are: each counts as independent (too narrow, if anything)."""
    return Rate(errors, trials, wilson(errors, trials, confidence), float(trials))


def least_mated(counts: np.ndarray) -> float:
    """The effective number of mated comparisons where all of a person's succeed or fail together (Kish)."""
    counts = counts.astype(np.float64)
    return float(counts.sum() ** 2 / (counts @ counts))


def least_non_mated(counts: np.ndarray) -> float:
    """The effective number of non-mated comparisons at the most they can depend on each other.

    Comparisons of the same two people then agree, and those that share one person correlate by one half, which is the
    most that exchangeable people allow (Hoeffding 1948). With one photograph a person: G / 2, the number of people
    over two, as if each took part in one comparison.
    """
    counts = counts.astype(np.float64)
    return float(counts.sum() ** 2 / 2 / (counts @ counts))


def _rate(errors: int, trials: int, spread: Spread | None, least: float, confidence: float) -> Rate:
    # Errors do not show how they depend on each other where there are none (or nothing else), or where one person is
    # in all comparisons: then the worst case stands. No estimate can be worse than it either.
    rate, effective = errors / trials, least
    if 0 < errors < trials and spread is not None:
        independent = rate * (1 - rate) / trials
        effective = max(least, rate * (1 - rate) / spread.widened(independent, confidence))
    return Rate(errors, trials, wilson_at(rate, effective, confidence), effective)
