"""The bootstrap over identities: what a rate would have been with other people of the same kind.

People are drawn with replacement, and every comparison of two drawn people counts as often as the product of their
draws (the vertex bootstrap; Fogliato, Patil, Perona, arXiv 2306.01198). A threshold that was chosen on the data is
chosen anew in every replicate.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from vultus.evaluation.comparisons import Comparisons
from vultus.evaluation.intervals.wilson import Interval
from vultus.evaluation.scores.pairs import PairScores

BLOCK = 2**16
"""False matches weighed at once: their weights stay in the processor's cache."""

WORK = 2**30
"""Weights of false matches computed for one rate, at about 3 ns each: beyond it, fewer replicates are made."""

FEWEST = 200
"""Replicates that are made however long they take."""


class IdentityBootstrap:
    """`replicates` resamples of the identities behind `comparisons`; the same ones for every rate that is asked for.

    A resample without any mated or without any non-mated comparison (a handful of identities) is drawn again.
    """

    def __init__(self, comparisons: Comparisons, replicates: int = 1000, seed: int = 0) -> None:
        self.comparisons = comparisons
        self.replicates = replicates
        self.seed = seed

    @cached_property
    def weights(self) -> np.ndarray:
        """(R, G) uint8: how often each identity is drawn; a row sums to G."""
        rng = np.random.default_rng(self.seed)
        identities = len(self.comparisons.mated)
        rows = np.zeros((self.replicates, identities), np.uint8)
        missing = np.arange(self.replicates)
        for _ in range(1000):
            for at in missing:
                rows[at] = np.bincount(rng.integers(identities, size=identities), minlength=identities).clip(max=255)
            missing = missing[self._is_empty(rows[missing])]
            if not len(missing):
                return rows
        raise ValueError("hardly any resample of these identities has a comparison: too few identities to resample")

    def over(self, comparisons: Comparisons) -> IdentityBootstrap:
        """The same resamples of the same people, for other comparisons of them (a second recogniser's)."""
        other = IdentityBootstrap(comparisons, self.replicates, self.seed)
        other.__dict__["weights"] = self.weights  # where cached_property keeps it
        return other

    def mated(self, errors_by_identity: np.ndarray) -> np.ndarray:
        """(R,) false non-match rate of each resample, from the false non-matches of each identity, (G,) int."""
        return self._times(errors_by_identity) / self._mated_totals

    def non_mated(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(R,) false match rate of each resample, from the two identities, (K,) int each, of every false match."""
        totals = np.zeros(self.replicates)
        weights = self.weights.astype(np.uint16)
        for start in range(0, len(first), BLOCK):
            block = tuple(np.asarray(codes[start : start + BLOCK], dtype=np.intp) for codes in (first, second))
            totals += [_products(row, *block).sum(dtype=np.int64) for row in weights]
        return totals / self._non_mated_totals

    def tar_at_far(self, scores: PairScores, far: float) -> np.ndarray | None:
        """(R' <= R,) TAR of each resample at the smallest threshold whose FAR in the resample is at most `far`.

        None where the threshold of a resample may lie below the kept scores, or the identities are unknown. A rate so
        high that R resamples would take too long (more than a million false matches) gets the first R' of them, at
        least `FEWEST`.
        """
        if scores.mated_identity is None or scores.tail_identities is None or scores.failures is None:
            return None
        places = self._places(scores, far)
        if places is None:
            return None
        return 1 - self._weighted_misses(scores, places)

    def _places(self, scores: PairScores, far: float) -> np.ndarray | None:
        """(R',) how many mated scores lie below each resample's threshold; None where a threshold is out of reach."""
        assert scores.tail_identities is not None
        held, expected = len(scores.tail), far * scores.non_mated
        if expected > held and not scores.is_complete:
            return None
        replicates = min(self.replicates, max(FEWEST, int(WORK / max(1.0, expected))))
        weights = self.weights[:replicates].astype(np.uint16)
        # False matches that may still pass; 0.29 of 100 are 29, though the product of the doubles is below.
        left = far * self._non_mated_totals[:replicates] * (1 + 1e-12)
        inside = np.full(replicates, held)  # entries of the tail above the threshold
        walking = np.arange(replicates)
        step = min(BLOCK, 1024 + int(1.2 * expected))
        for start in range(0, held, step):  # from the highest score down, until the first that must not pass
            block = scores.tail_identities[max(0, held - start - step) : held - start][::-1]
            first, second = np.ascontiguousarray(block.T, dtype=np.intp)
            for r in walking:
                passed = _products(weights[r], first, second)
                total = int(passed.sum(dtype=np.int64))
                if total > left[r]:
                    inside[r] = start + np.searchsorted(np.cumsum(passed, dtype=np.int64), left[r], side="right")
                else:
                    left[r] -= total
            walking = walking[inside[walking] == held]
            if not len(walking):
                break
        if len(walking) and not scores.is_complete:
            return None
        border = scores.tail[held - 1 - np.minimum(inside, held - 1)]  # the highest score that does not pass
        return np.where(inside == held, 0, np.searchsorted(scores.mated, border, side="right"))

    def _weighted_misses(self, scores: PairScores, places: np.ndarray) -> np.ndarray:
        """Weighted FNMR of resample r where the lowest places[r] mated scores fail; the resamples by rising place."""
        assert scores.mated_identity is not None and scores.failures is not None
        identities = len(self.comparisons.mated)
        missed = scores.failures.astype(np.float64)
        rates, done = np.empty(len(places)), 0
        for r in np.argsort(places):
            if places[r] > done:
                missed += np.bincount(scores.mated_identity[done : places[r]], minlength=identities)
                done = places[r]
            rates[r] = self.weights[r] @ missed
        return rates / self._mated_totals[: len(places)]

    @cached_property
    def _mated_totals(self) -> np.ndarray:
        return self._times(self.comparisons.mated)

    @cached_property
    def _non_mated_totals(self) -> np.ndarray:
        return self.comparisons.weighted(self.weights.astype(np.float64))

    def _times(self, by_identity: np.ndarray) -> np.ndarray:
        return self.weights @ np.asarray(by_identity, dtype=np.float64)

    def _is_empty(self, rows: np.ndarray) -> np.ndarray:
        weights, empty = rows.astype(np.float64), np.zeros(len(rows), bool)
        if self.comparisons.mated.any():
            empty |= weights @ self.comparisons.mated == 0
        if self.comparisons.non_mated.any():
            empty |= self.comparisons.weighted(weights) == 0
        return empty


def percentile_interval(replicates: np.ndarray, confidence: float = 0.95) -> Interval:
    """The middle `confidence` of the replicates (R,), ends included."""
    if not np.isfinite(replicates).all():
        raise ValueError("a replicate is not a number: no interval")
    low, high = np.quantile(replicates, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def _products(row: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(K,) uint16: how often a resample (G,) uint16 holds each comparison."""
    return row.take(first) * row.take(second)
