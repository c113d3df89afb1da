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

CELLS = 2**22
"""Weights of tail entries held at once (float64)."""

WORK = 2**30
"""Weights of tail entries computed for one rate, at about 5 ns each: beyond it, fewer replicates are made."""

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
        rows = max(1, CELLS // max(1, len(first)))
        found = [
            _products(self.weights[at : at + rows], first, second).sum(axis=1, dtype=np.float64)
            for at in range(0, self.replicates, rows)
        ]
        return np.concatenate(found) / self._non_mated_totals

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
        held, allowed = len(scores.tail), far * self._non_mated_totals
        # A resample needs more entries of the tail than the data where its people happen to match less.
        wanted = min(held, int(1.5 * far * scores.non_mated) + 1000)
        replicates = min(self.replicates, max(FEWEST, WORK // wanted)) if wanted else self.replicates
        places = np.empty(replicates, np.int64)
        at = 0
        while at < replicates:
            rows = slice(at, min(replicates, at + max(1, CELLS // max(1, wanted))))
            first, second = scores.tail_identities[held - wanted :][::-1].T
            passed = np.cumsum(_products(self.weights[rows], first, second), axis=1, dtype=np.int64)
            # Entries above the threshold: all before the first one that would exceed what is allowed.
            inside = (passed <= allowed[rows, None]).sum(axis=1)
            if (inside == wanted).any() and wanted < held:
                wanted = min(held, 2 * wanted)
                continue
            if (inside == wanted).any() and not scores.is_complete:
                return None
            border = scores.tail[held - 1 - np.minimum(inside, held - 1)]  # the highest score that does not pass
            below = np.searchsorted(scores.mated, border, side="right")
            places[rows] = np.where(inside == held, 0, below)
            at = rows.stop
        return places

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


def _products(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(R, K) uint16: w_i w_j of each comparison in each resample."""
    return weights[:, first].astype(np.uint16) * weights[:, second]
