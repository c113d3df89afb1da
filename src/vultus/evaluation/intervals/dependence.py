"""Error rates of comparisons that share people: intervals over people, and what the comparisons are worth.

One person who photographs badly spoils all of that person's mated comparisons, and one who looks like many others is
in many false matches. `people_interval` therefore counts people: how many of them have at least one error, at least
two, and so on, each with Wilson's interval. More errors move both ends the same way, whoever they belong to, which no
interval with an estimated variance does (one more outlier lowers the lower end of Student's t). It holds the truth in
90 to 100 % of simulated data sets (benchmarks/coverage.py); with comparisons taken as independent, 10 to 89 % do.

The effective number of comparisons, n* = p (1 - p) / Var(p), says what they are worth to whoever asks how many more
are needed. Its variance is the sum of the covariances of all comparisons that share an identity, estimated from each
identity's errors minus rate x comparisons (Fogliato, Patil, Perona, "Confidence Intervals for Error Rates in 1:1
Matching Tasks", arXiv 2306.01198), with two corrections for few people (`Spread`).
"""

from __future__ import annotations

from math import log
from statistics import NormalDist

import numpy as np

from vultus.evaluation.comparisons import Comparisons
from vultus.evaluation.intervals.rate import Rate
from vultus.evaluation.intervals.spread import Spread, mated_spread, non_mated_spread
from vultus.evaluation.intervals.wilson import Interval, join, wilson, wilson_at

SHARE = 1 / 3
"""People that one person is worth where each comparison belongs to two of them. Between the 1/2 that disjoint pairs
would need and the 1/4 of one person against everybody (Hoeffding 1948); measured in benchmarks/coverage.py."""


def people_interval(errors: np.ndarray, counts: np.ndarray, confidence: float = 0.95, share: float = 1.0) -> Interval:
    """The interval of sum(errors) / sum(counts), from (G,) errors of each person among (G,) counts.

    The sum is taken apart by layers: of the G_c people with at least c comparisons, m_c have at least c errors. Each
    layer gets Wilson's interval of m_c among `share` x G_c people; the layers are added as if they moved together,
    which people whose comparisons all fail together do. Layers in which nobody errs add nothing. Errors may be
    fractions. No end falls when an error is added.
    """
    total, most = float(counts.sum()), float(errors.max(initial=0))
    if not total:
        return 0.0, 1.0
    edges = np.unique(np.concatenate([errors[errors > 0], counts[(counts > 0) & (counts < most)]]).astype(np.float64))
    people = len(counts) - np.searchsorted(np.sort(counts), edges)
    rate = (len(errors) - np.searchsorted(np.sort(errors), edges)) / np.maximum(people, 1)
    z, n = NormalDist().inv_cdf(0.5 + confidence / 2), share * np.maximum(people, 1)
    center, half = rate + z * z / (2 * n), z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    thick = np.diff(edges, prepend=0) * people / total
    low, high = (thick @ np.clip(end / (1 + z * z / n), 0, 1) for end in (center - half, center + half))
    return float(low), min(1.0, float(high))


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
    interval = join([wilson(wrong, total, confidence), people_interval(errors, counts, confidence)])
    return Rate(wrong, total, interval, _effective(wrong, total, spread, least_mated(counts), confidence))


def non_mated_rate(first: np.ndarray, second: np.ndarray, comparisons: Comparisons, confidence: float = 0.95) -> Rate:
    """The false match rate from the two identities, (K,) int each, of every false match."""
    counts = np.asarray(comparisons.non_mated, dtype=np.int64)
    total, wrong = int(counts.sum()) // 2, len(first)
    if wrong > total or len(second) != wrong:
        raise ValueError(f"first and second must name the identities of at most {total} false matches")
    if total == 0:
        return independent_rate(0, 0, confidence)
    taken = np.bincount(first, minlength=len(counts)) + np.bincount(second, minlength=len(counts))
    interval = join([wilson(wrong, total, confidence), people_interval(taken, counts, confidence, SHARE)])
    spread = non_mated_spread(first, second, comparisons)
    return Rate(wrong, total, interval, _effective(wrong, total, spread, least_non_mated(counts), confidence))


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


def _effective(errors: int, trials: int, spread: Spread | None, least: float, confidence: float) -> float:
    # Errors do not show how they depend on each other where there are none (or nothing else), or where one person is
    # in all comparisons: then the worst case stands. No estimate can be worse than it either.
    rate = errors / trials
    if not 0 < errors < trials or spread is None:
        return least
    independent = rate * (1 - rate) / trials
    return max(least, rate * (1 - rate) / spread.widened(independent, confidence))
