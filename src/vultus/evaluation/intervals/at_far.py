"""How sure a TAR at a FAR is, where the threshold was chosen on the same data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vultus.evaluation.intervals.bootstrap import IdentityBootstrap, percentile_interval
from vultus.evaluation.intervals.dependence import mated_rate
from vultus.evaluation.intervals.rate import Rate
from vultus.evaluation.intervals.wilson import allowed_errors, join
from vultus.evaluation.scores.pairs import PairScores


def fnmr_at_far(scores: PairScores, far: float, drawn: IdentityBootstrap, confidence: float = 0.95) -> Rate | None:
    """FNMR = 1 - TAR at the smallest threshold with FAR <= `far`; None where `IdentityBootstrap.tar_at_far` is.

    The interval holds that of `mated_rate` at this threshold and the percentiles of the replicates, in which the
    threshold moves too. Both follow the errors: a mated score that falls below the threshold lowers no end.
    """
    replicates = drawn.tar_at_far(scores, far)
    errors = errors_at_far(scores, far)
    if replicates is None or errors is None:
        return None
    fixed = mated_rate(errors, drawn.comparisons, confidence)
    low, high = percentile_interval(replicates, confidence)
    moved = (1 - high, 1 - low)
    return replace(fixed, interval=join([fixed.interval, moved]), bootstrap=moved)


def errors_at_far(scores: PairScores, far: float) -> np.ndarray | None:
    """(G,) false non-matches of each identity at the smallest threshold with FAR <= `far`."""
    if scores.mated_identity is None or scores.failures is None or scores.non_mated == 0:
        return None
    threshold = scores.threshold(allowed_errors(far, scores.non_mated))
    lost = int(np.searchsorted(scores.mated, np.float32(threshold), side="left"))
    return np.bincount(scores.mated_identity[:lost], minlength=len(scores.failures)) + scores.failures
