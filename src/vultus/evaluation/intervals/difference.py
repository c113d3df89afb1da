"""Two recognisers on the same comparisons: is one better, or did it have the luckier people?

Both see the same people, so what makes a person hard for both cancels in the difference. Each resample of the people
gives both their TAR, and the spread of the differences is what counts; two intervals that overlap say little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import hypot

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals.at_far import errors_at_far
from vultus.evaluation.intervals.bootstrap import IdentityBootstrap, percentile_interval
from vultus.evaluation.intervals.dependence import people_interval
from vultus.evaluation.intervals.wilson import Interval, is_supported, join, needed_comparisons, wilson_at
from vultus.evaluation.scores.pairs import PairScores


@dataclass(frozen=True)
class Difference:
    """TAR of `a` minus TAR of `b` at one FAR, each at its own threshold.

    Where the FAR is not supported, or lies beyond the kept scores, the figures are None and `needs` is the number of
    non-mated comparisons that would support it.
    """

    far: float
    a: float | None = None
    b: float | None = None
    interval: Interval | None = None
    needs: int | None = None

    @property
    def value(self) -> float | None:
        """a - b: positive where `a` is better."""
        return None if self.a is None or self.b is None else self.a - self.b

    @property
    def excludes_zero(self) -> bool:
        """Whether the data tell the two apart."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def compare_paired(
    a: PairScores,
    b: PairScores,
    fars: Iterable[float],
    *,
    replicates: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Difference]:
    """The difference in TAR at each FAR, from the same resamples of the people for both.

    Raises VultusError where identities are unknown, or the two did not compare the same people equally often (a face
    that one of them did not find is still a mated comparison of its own, and lost).
    """
    _require_same(a, b)
    assert a.comparisons is not None and b.comparisons is not None
    drawn = IdentityBootstrap(a.comparisons, replicates, seed)
    pair = (drawn, drawn.over(b.comparisons))
    return [_difference(a, b, far, pair, confidence) for far in fars]


def difference_interval(
    better: np.ndarray, counts: np.ndarray, replicates: np.ndarray, confidence: float = 0.95
) -> Interval:
    """The interval of sum(better) / sum(counts), a difference of two mated rates over the same people, in [-1, 1].

    better       (G,) how many more of its comparisons the first got right than the second (means over seeds: fractions)
    counts       (G,) mated comparisons of each identity
    replicates   (R,) the same difference in each resample, each with thresholds of its own

    The people for whom the first is better and those for whom the second is are two rates (`mated_rate`); the distance
    of their difference to each end joins theirs (MOVER, Zou and Donner, Statistics in Medicine 27, 2008). It holds the
    percentiles of the replicates too. One more error of the first raises no end.
    """
    total = int(counts.sum())
    (won, (won_low, won_high)), (lost, (lost_low, lost_high)) = (
        (rate, join([wilson_at(rate, total, confidence), people_interval(part, counts, confidence)]))
        for part in (better.clip(min=0), (-better).clip(min=0))
        for rate in [float(part.sum()) / total]
    )
    low = won - lost - hypot(won - won_low, lost_high - lost)
    high = won - lost + hypot(won_high - won, lost - lost_low)
    low, high = join([(low, high), percentile_interval(replicates, confidence)])
    return max(-1.0, low), min(1.0, high)


def _difference(
    a: PairScores, b: PairScores, far: float, drawn: tuple[IdentityBootstrap, IdentityBootstrap], confidence: float
) -> Difference:
    trials = min(a.non_mated, b.non_mated)
    lost = (errors_at_far(a, far), errors_at_far(b, far))
    if not is_supported(far, trials):
        return Difference(far, needs=needed_comparisons(far))
    tars = (drawn[0].tar_at_far(a, far), drawn[1].tar_at_far(b, far))
    if lost[0] is None or lost[1] is None or tars[0] is None or tars[1] is None:
        return Difference(far, needs=needed_comparisons(far))
    made = min(len(tars[0]), len(tars[1]))
    counts = drawn[0].comparisons.mated
    total = int(counts.sum())
    better = lost[1] - lost[0]
    interval = difference_interval(better, counts, tars[0][:made] - tars[1][:made], confidence)
    return Difference(far, 1 - int(lost[0].sum()) / total, 1 - int(lost[1].sum()) / total, interval)


def _require_same(a: PairScores, b: PairScores) -> None:
    one, two = a.comparisons, b.comparisons
    known = all(
        s.comparisons is not None and s.mated_identity is not None and s.tail_identities is not None for s in (a, b)
    )
    if one is None or two is None or not known:
        raise VultusError("a paired comparison needs the identities of both recognisers' scores: score with labels")
    if len(one.mated) != len(two.mated):
        raise VultusError(
            f"the two recognisers saw {len(one.mated)} and {len(two.mated)} identities: give both the same images"
        )
    kinds = [("mated", one.mated, two.mated)]
    if not a.mated_failures and not b.mated_failures:  # a face that one did not find takes its non-mated ones away
        kinds.append(("non-mated", one.non_mated, two.non_mated))
    for kind, left, right in kinds:
        if (left != right).any():
            at = int(np.argmax(left != right))
            raise VultusError(
                f"identity {at} has {left[at]} {kind} comparisons with one recogniser and {right[at]} with the other: "
                "give both the same images"
            )
