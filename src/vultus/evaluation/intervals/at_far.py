"""How sure a TAR at a FAR is, where the threshold was chosen on the same data."""

from __future__ import annotations

import numpy as np

from vultus.evaluation.intervals.bootstrap import IdentityBootstrap, percentile_interval
from vultus.evaluation.intervals.dependence import least_mated
from vultus.evaluation.intervals.rate import Rate
from vultus.evaluation.intervals.spread import mated_spread
from vultus.evaluation.intervals.wilson import allowed_errors, wilson_at
from vultus.evaluation.scores.pairs import PairScores


def fnmr_at_far(scores: PairScores, far: float, drawn: IdentityBootstrap, confidence: float = 0.95) -> Rate | None:
    """FNMR = 1 - TAR at the smallest threshold with FAR <= `far`; None where `IdentityBootstrap.tar_at_far` is.

    Its variance is that of the replicates, in which the threshold moves too, with the part that the mated comparisons
    have at a fixed threshold replaced by the corrected one (`Spread`). The percentiles of the replicates themselves,
    given as `bootstrap`, cover too seldom where errors or people are few (benchmarks/coverage.py).
    """
    replicates = drawn.tar_at_far(scores, far)
    errors = errors_at_far(scores, far)
    if replicates is None or errors is None:
        return None
    counts = drawn.comparisons.mated
    total, wrong = int(counts.sum()), int(errors.sum())
    rate, least = wrong / total, least_mated(counts)
    spread, effective = mated_spread(errors - rate * counts, counts), least
    if 0 < wrong < total and spread is not None:
        independent = rate * (1 - rate) / total
        fixed = min(spread.widened(independent, confidence), rate * (1 - rate) / least)
        moved = max(0.0, float(np.var(replicates)) - spread.plain)
        effective = rate * (1 - rate) / (fixed + moved)
    low, high = percentile_interval(replicates, confidence)
    return Rate(wrong, total, wilson_at(rate, effective, confidence), effective, bootstrap=(1 - high, 1 - low))


def errors_at_far(scores: PairScores, far: float) -> np.ndarray | None:
    """(G,) false non-matches of each identity at the smallest threshold with FAR <= `far`."""
    if scores.mated_identity is None or scores.failures is None or scores.non_mated == 0:
        return None
    threshold = scores.threshold(allowed_errors(far, scores.non_mated))
    lost = int(np.searchsorted(scores.mated, np.float32(threshold), side="left"))
    return np.bincount(scores.mated_identity[:lost], minlength=len(scores.failures)) + scores.failures
