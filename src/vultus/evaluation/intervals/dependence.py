"""Error rates of comparisons that share people: the Wilson interval with the effective number of comparisons.

One person who photographs badly spoils all of that person's mated comparisons, and one who looks like many others is
in many false matches. The variance of a rate is therefore the sum of the covariances of all comparisons that share an
identity, estimated from the residuals "errors minus rate x comparisons" of each identity (Fogliato, Patil, Perona,
"Confidence Intervals for Error Rates in 1:1 Matching Tasks", arXiv 2306.01198; for pairs, Fafchamps and Gubert 2007).
The effective number of comparisons n* = p (1 - p) / Var(p) then takes the place of their number in Wilson's formula.
"""

from __future__ import annotations

import numpy as np

from vultus.evaluation.comparisons import Comparisons, pair_key
from vultus.evaluation.intervals.rate import Rate
from vultus.evaluation.intervals.wilson import wilson, wilson_at


def mated_rate(errors_by_identity: np.ndarray, comparisons: Comparisons, confidence: float = 0.95) -> Rate:
    """The false non-match rate from the number of false non-matches of each identity, (G,) int.

    Var(p) = G' / (G' - 1) sum_i (E_i - p N_i)^2 / (sum N)^2 over the G' identities that have mated comparisons.
    """
    counts = np.asarray(comparisons.mated, dtype=np.int64)
    errors = np.asarray(errors_by_identity, dtype=np.int64)
    if errors.shape != counts.shape or (errors < 0).any() or (errors > counts).any():
        raise ValueError("errors_by_identity must be (G,) counts, none above the identity's mated comparisons")
    total, wrong, present = int(counts.sum()), int(errors.sum()), int((counts > 0).sum())
    if total == 0:
        return independent_rate(0, 0, confidence)
    rate = wrong / total
    residuals = errors - rate * counts
    variance = present / max(1, present - 1) * float(residuals @ residuals) / total**2
    # Without errors (or without anything else) the data say nothing of their dependence. The worst it can be: all
    # comparisons of a person succeed or fail together.
    together = total**2 / float(counts @ counts.astype(np.float64))
    return _rate(wrong, total, variance, together, confidence)


def non_mated_rate(first: np.ndarray, second: np.ndarray, comparisons: Comparisons, confidence: float = 0.95) -> Rate:
    """The false match rate from the two identities, (K,) int each, of every false match.

    With r_ij = E_ij - p N_ij for each pair of identities and R_i the sum of those of identity i,
    Var(p) = (sum_i R_i^2 - sum_{i<j} r_ij^2) / (sum N)^2: pairs that share one identity once, each pair itself once.
    """
    counts = np.asarray(comparisons.non_mated, dtype=np.int64)
    identities, total, wrong = len(counts), int(counts.sum()) // 2, len(first)
    if wrong > total or len(second) != wrong:
        raise ValueError(f"first and second must name the identities of at most {total} false matches")
    if total == 0:
        return independent_rate(0, 0, confidence)
    rate = wrong / total
    errors = np.bincount(first, minlength=identities) + np.bincount(second, minlength=identities)
    residuals = errors - rate * counts
    keys, found = np.unique(pair_key(first, second, identities), return_counts=True)
    between = comparisons.between(keys // identities, keys % identities)
    pairs = float(found @ found) - 2 * rate * float(found @ between) + rate**2 * comparisons.squares
    variance = (float(residuals @ residuals) - pairs) / total**2
    # The worst case for a rate over pairs: two comparisons that share one identity correlate by at most one half
    # (Hoeffding 1948), those of the same two identities by one. With one comparison a pair: G / 2 disjoint pairs.
    together = 2 * total**2 / float(counts @ counts.astype(np.float64))
    return _rate(wrong, total, variance, together, confidence)


def independent_rate(errors: int, trials: int, confidence: float = 0.95) -> Rate:
    """The rate where nobody knows whose comparisons they are: each counts as independent (too narrow, if anything)."""
    return Rate(errors, trials, wilson(errors, trials, confidence), float(trials))


def _rate(errors: int, trials: int, variance: float, together: float, confidence: float) -> Rate:
    if errors in (0, trials):
        effective = together
    else:
        rate = errors / trials
        # The estimate is noisy where errors are few and can even be negative. Shared people do not make comparisons
        # more informative than independent ones, so the variance is never taken below theirs.
        effective = min(float(trials), rate * (1 - rate) / max(variance, 1e-300))
    return Rate(errors, trials, wilson_at(errors / trials, effective, confidence), effective)
