"""FMR and FNMR at one threshold, with intervals that know whose comparisons they were."""

from __future__ import annotations

import numpy as np

from vultus.evaluation.intervals import Rate, beyond_tail_rate, independent_rate, mated_rate, non_mated_rate
from vultus.evaluation.scores import PairScores


def fnmr_at(scores: PairScores, threshold: float, confidence: float = 0.95) -> Rate:
    """The share of mated comparisons below `threshold`, failures included."""
    errors = errors_by_identity(scores, threshold)
    if errors is None or scores.comparisons is None:
        return independent_rate(scores.false_non_matches(threshold), scores.mated_comparisons, confidence)
    return mated_rate(errors, scores.comparisons, confidence)


def fmr_at(scores: PairScores, threshold: float, confidence: float = 0.95) -> Rate:
    """The share of non-mated comparisons at or above `threshold` (a value that `PairScores.snap` leaves alone).

    Where the threshold lies beyond the kept tail, whose the further false matches were is not known, and the interval
    is an estimate (`beyond_tail_rate`); `count_by_identity` walks over all comparisons again for the exact one.
    """
    pairs = false_match_identities(scores, threshold)
    if pairs is None and scores.comparisons is not None and scores.tail_identities is not None:
        first, second = scores.tail_identities.T
        return beyond_tail_rate(scores.false_matches(threshold), first, second, scores.comparisons, confidence)
    if pairs is None or scores.comparisons is None:
        return independent_rate(scores.false_matches(threshold), scores.non_mated, confidence)
    return non_mated_rate(pairs[:, 0], pairs[:, 1], scores.comparisons, confidence)


def errors_by_identity(scores: PairScores, threshold: float) -> np.ndarray | None:
    """(G,) false non-matches of each identity; None where identities are unknown."""
    if scores.comparisons is None or scores.mated_identity is None:
        return None
    lost = int(np.searchsorted(scores.mated, np.float32(threshold), side="left"))
    errors = np.bincount(scores.mated_identity[:lost], minlength=len(scores.comparisons.mated))
    return errors if scores.failures is None else errors + scores.failures


def false_match_identities(scores: PairScores, threshold: float) -> np.ndarray | None:
    """(K, 2) identities of each false match; None where they are unknown or lie beyond the kept tail."""
    if scores.comparisons is None or scores.tail_identities is None:
        return None
    if not scores.is_complete and not (len(scores.tail) and threshold > scores.tail[0]):
        return None
    return scores.tail_identities[int(np.searchsorted(scores.tail, np.float32(threshold), side="left")) :]
