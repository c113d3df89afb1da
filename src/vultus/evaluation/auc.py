"""How sure an AUC is, when its comparisons share people."""

from __future__ import annotations

import numpy as np

from vultus.evaluation.intervals import Interval, join, people_interval, wilson_at
from vultus.evaluation.intervals.dependence import SHARE
from vultus.evaluation.scores import BIN, PairScores


def auc_interval(scores: PairScores, confidence: float = 0.95) -> Interval:
    """The interval of P(a mated score is above a non-mated one), ties counting half.

    Each mated comparison is wrong by the share of the non-mated scores above it, each non-mated one by the share of the
    mated scores below it; their means are both 1 - AUC. The interval holds that of either kind over its people
    (`intervals.people_interval`), and Wilson's with as many comparisons as the rarer kind has, since no variance of an
    AUC is above AUC (1 - AUC) / min(M, N) (Birnbaum and Klose, Ann. Math. Stat. 28, 1957). A mated score that gets
    worse raises no end. Non-mated scores below the kept tail count with the mean of their errors. Cost: one sort of
    the kept tail, about 40 bytes a kept score. Unknown identities: every comparison counts as independent.
    """
    missed = np.concatenate([1 - _below(scores), np.ones(scores.mated_failures)])
    wrong = float(missed.mean())
    plain = wilson_at(wrong, float(min(len(missed), scores.non_mated)), confidence)
    if scores.comparisons is None or scores.mated_identity is None or scores.tail_identities is None:
        return 1 - plain[1], 1 - plain[0]
    mated, non_mated = scores.comparisons.mated, scores.comparisons.non_mated
    people = len(mated)
    lost = np.bincount(scores.mated_identity, missed[: len(scores.mated)], people)
    lost += 0 if scores.failures is None else scores.failures
    passed, rest = _above(scores, wrong)
    both = scores.tail_identities.ravel()
    taken = np.bincount(both, np.repeat(passed, 2), people)
    taken += rest * (non_mated - np.bincount(both, minlength=people))
    over = [people_interval(lost, mated, confidence), people_interval(taken, non_mated, confidence, SHARE)]
    low, high = join([plain, *over])
    return 1 - high, 1 - low


def _below(scores: PairScores) -> np.ndarray:
    """(M,) share of the non-mated scores below each mated score, ties half; in a bin of the histogram half are."""
    mated, tail = scores.mated, scores.tail
    rest = scores.non_mated - len(tail)
    left, right = (np.searchsorted(tail, mated, side=side) for side in ("left", "right"))
    below = rest + (left + right) / 2
    if rest:
        under = mated <= tail[0]
        held = scores.histogram
        edges = np.cumsum(held)
        at = np.clip(np.floor((mated[under].astype(np.float64) + 1) / BIN).astype(np.int64), 0, len(held) - 1)
        below[under] = np.minimum(edges[at] - held[at] / 2, rest)
    return below / scores.non_mated


def _above(scores: PairScores, wrong: float) -> tuple[np.ndarray, float]:
    """((K,) share of the mated scores below each kept non-mated one, ties half; the mean of the rest, of 1 - AUC)."""
    left, right = (np.searchsorted(scores.mated, scores.tail, side=side) for side in ("left", "right"))
    below = ((left + right) / 2 + scores.mated_failures) / scores.mated_comparisons
    rest = scores.non_mated - len(below)
    return below, max(0.0, wrong * scores.non_mated - float(below.sum())) / rest if rest else 0.0
