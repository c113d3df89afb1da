"""What is kept of a set's comparisons: enough to count exactly above every threshold of interest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.comparisons import Comparisons, Listed
from vultus.evaluation.scores.failures import by_identity

BIN = 2.0**-16
"""Width of a histogram bin. A power of two: score / BIN is exact in float32, so no score ever lands in a wrong bin."""

BINS = 2**17 + 1
"""Bins over [-1, 1]; the last one holds only the score 1."""

TAIL = 2**20
"""How many of the largest non-mated scores are kept one by one (12 MiB with their identities): of 10,000 images those
down to a false match rate of 2e-2, of a million down to 2e-6. Below, thresholds are edges of bins."""

HARDEST = 240
"""How many of the hardest pairs are kept with their indices: more than are shown, as nobody is shown often."""


class ScoredPair(NamedTuple):
    """Images `i` < `j` (rows of the embeddings) and their cosine; of two sets, row i of the one and j of the other."""

    i: int
    j: int
    score: float


@dataclass(frozen=True, eq=False)
class PairScores:
    """What is kept of all comparisons.

    mated            (M,) float32, ascending: every mated score that could be computed
    mated_failures   mated comparisons without a score (no face was found); each is a false non-match
    non_mated        number of non-mated comparisons
    tail             (min(K, non_mated),) float32, ascending: the largest non-mated scores
    histogram        (BINS,) int64: non-mated scores in bins of 2^-16 from -1
    hardest_*        the lowest mated and the highest non-mated pairs, hardest first

    Where the identities are known, 0..G-1 (else None, and intervals take comparisons for independent):
    comparisons      how many comparisons each identity and each pair of identities has
    mated_identity   (M,) int32: whose comparison mated[k] is
    failures         (G,) int64: `mated_failures` by identity
    tail_identities  (K, 2) int32: whose comparison tail[k] is
    """

    mated: np.ndarray
    mated_failures: int
    non_mated: int
    tail: np.ndarray
    histogram: np.ndarray
    hardest_mated: tuple[ScoredPair, ...] = ()
    hardest_non_mated: tuple[ScoredPair, ...] = ()
    comparisons: Comparisons | None = None
    mated_identity: np.ndarray | None = None
    failures: np.ndarray | None = None
    tail_identities: np.ndarray | None = None

    @property
    def mated_comparisons(self) -> int:
        return len(self.mated) + self.mated_failures

    @property
    def is_complete(self) -> bool:
        """Whether every non-mated score is kept, so that nothing below comes from the histogram."""
        return len(self.tail) == self.non_mated

    def threshold(self, false_matches: int) -> float:
        """The smallest float32 threshold that lets at most `false_matches` non-mated comparisons through.

        Exact inside the tail. Below it (more than K false matches) the next bin edge above: up to 2^-16 too high,
        never too low.
        """
        if false_matches >= self.non_mated:
            return float(np.nextafter(np.float32(self._lowest()), np.float32(-np.inf)))
        if false_matches < len(self.tail):
            return _just_above(self.tail[-1 - false_matches])
        above = np.cumsum(self.histogram[::-1])[::-1]  # above[b]: scores at or above the lower edge of bin b
        return float(-1 + BIN * int(np.argmax(above <= false_matches)))

    def snap(self, threshold: float) -> float:
        """`threshold` itself where non-mated scores can be counted exactly, else the next bin edge above it."""
        if self._reaches(threshold):
            return threshold
        return float(np.ceil(threshold / BIN) * BIN)

    def false_matches(self, threshold: float) -> int:
        """Non-mated comparisons with score >= `threshold` (a value that `snap` leaves alone)."""
        if self._reaches(threshold):
            return len(self.tail) - int(np.searchsorted(self.tail, np.float32(threshold), side="left"))
        return int(self.histogram[max(0, int(np.ceil((threshold + 1) / BIN))) :].sum())

    def false_non_matches(self, threshold: float) -> int:
        """Mated comparisons with score < `threshold`, failures included."""
        return self.mated_failures + int(np.searchsorted(self.mated, np.float32(threshold), side="left"))

    def _reaches(self, threshold: float) -> bool:
        """Whether every non-mated score >= `threshold` is in the tail (of those equal to its least some may not be)."""
        return self.is_complete or (len(self.tail) > 0 and threshold > self.tail[0])

    def _lowest(self) -> float:
        return float(self.tail[0]) if self.is_complete else -1.0


def explicit_scores(
    mated: np.ndarray,
    non_mated: np.ndarray,
    *,
    mated_failures: int | np.ndarray = 0,
    mated_identity: np.ndarray | None = None,
    non_mated_identities: np.ndarray | None = None,
    comparisons: Comparisons | None = None,
) -> PairScores:
    """The same object from score arrays that are at hand.

    A mated score of -inf is a failure (no face found), a false non-match. A non-mated -inf is left out: a face that
    was not found is no correct rejection. NaN and +inf are errors.

    Whose comparison each is: `mated_identity` (M,) and `non_mated_identities` (P, 2), codes from 0, beside the scores
    as given. `mated_failures` are comparisons that are not in the list, in all or (G,) by identity; a total above zero
    leaves the mated ones without identities. `comparisons` (failed ones included) where the lists are a design that
    counts itself (`AllPairs`, `TwoSets`); else they are counted (`Listed`).
    """
    mated, non_mated = (np.asarray(scores, dtype=np.float32).ravel() for scores in (mated, non_mated))
    for name, scores in (("mated", mated), ("non-mated", non_mated)):
        bad = np.isnan(scores) | np.isposinf(scores)
        if bad.any():
            raise VultusError(f"{name} score {int(bad.argmax())} is not a number: look at the embeddings behind it")
    found, failed = ~np.isneginf(non_mated), np.isneginf(mated)
    total = int(np.sum(mated_failures)) + int(failed.sum())
    up, tail_up = np.argsort(mated[~failed], kind="stable"), np.argsort(non_mated[found], kind="stable")
    kept = PairScores(
        mated=mated[~failed][up],
        mated_failures=total,
        non_mated=int(found.sum()),
        tail=non_mated[found][tail_up],
        histogram=np.bincount(bins(np.clip(non_mated[found], -1, 1)), minlength=BINS),
    )
    if mated_identity is None and non_mated_identities is None:
        return kept
    if mated_identity is None or non_mated_identities is None:
        raise VultusError("identities of the mated or of the non-mated comparisons only: give both, or neither")
    owner, apart = np.asarray(mated_identity, np.int32), np.asarray(non_mated_identities, np.int32)
    if owner.shape != mated.shape or apart.shape != (len(non_mated), 2):
        raise VultusError(
            f"identities of shapes {owner.shape} and {apart.shape} do not belong to {len(mated)} mated and "
            f"{len(non_mated)} non-mated scores: give (M,) and (P, 2)"
        )
    if (apart[:, 0] == apart[:, 1]).any():
        row = int(np.argmax(apart[:, 0] == apart[:, 1]))
        raise VultusError(f"non-mated comparison {row} has one identity twice: it is a mated one")
    people = 1 + max(int(owner.max(initial=-1)), int(apart.max(initial=-1)))
    if comparisons is not None:
        people = len(comparisons.mated)
    unlisted = by_identity(mated_failures, people)
    failures = None if unlisted is None else unlisted + np.bincount(owner[failed], minlength=people)
    if comparisons is None:
        missing = np.repeat(np.arange(people, dtype=np.int32), 0 if unlisted is None else unlisted)
        mates = np.concatenate([owner, missing])
        listed = Listed(np.concatenate([np.stack([mates, mates], 1), apart[found]]), people)
        comparisons = cast(Comparisons, listed)
    return replace(
        kept,
        comparisons=comparisons,
        mated_identity=None if unlisted is None else owner[~failed][up],
        failures=failures,
        tail_identities=apart[found][tail_up],
    )


def bins(scores: np.ndarray) -> np.ndarray:
    """Index of the bin of each score in [-1, 1]; exact, because the bin width is a power of two."""
    return np.floor(scores * np.float32(1 / BIN)).astype(np.int32) + 2**16


def _just_above(score: np.floating) -> float:
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))
