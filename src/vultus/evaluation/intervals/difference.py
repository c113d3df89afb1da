"""Two recognisers on the same comparisons: is one better, or did it have the luckier people?

Both see the same people, so what makes a person hard for both cancels in the difference. Each resample of the people
gives both their TAR, and the spread of the differences is what counts; two intervals that overlap say little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals.at_far import errors_at_far
from vultus.evaluation.intervals.bootstrap import IdentityBootstrap
from vultus.evaluation.intervals.dependence import least_mated
from vultus.evaluation.intervals.spread import mated_spread
from vultus.evaluation.intervals.wilson import Interval, is_supported, needed_comparisons, wilson_at
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
    value: float, replicates: np.ndarray, residuals: np.ndarray, counts: np.ndarray, confidence: float = 0.95
) -> Interval:
    """The interval of a difference of two mated rates over the same people, within [-1, 1].

    value        the difference; `replicates` (R,) the same in each resample
    residuals    (G,) difference of the two error counts of each identity, minus value x counts
    counts       (G,) mated comparisons of each identity
    """
    normal = NormalDist().inv_cdf(0.5 + confidence / 2)
    spread = mated_spread(residuals, counts)
    apart = np.abs(residuals + value * counts).sum() / counts.sum()  # at least this share is wrong for one of them
    if spread is None or apart == 0:
        # The two err alike on everybody: as far as these people can tell, they may still differ on so many.
        half = wilson_at(0.0, least_mated(counts), confidence)[1]
    else:
        # At a fixed threshold, corrected for few people; the moving thresholds add what the replicates show beyond.
        independent = max(0.0, float(apart) - value**2) / counts.sum()
        moved = max(0.0, float(np.var(replicates)) - spread.plain)
        half = normal * sqrt(spread.widened(independent, confidence) + moved)
    return max(-1.0, value - half), min(1.0, value + half)


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
    value = int(better.sum()) / total
    interval = difference_interval(value, tars[0][:made] - tars[1][:made], better - value * counts, counts, confidence)
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
