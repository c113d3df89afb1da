"""How good log-likelihood ratios are, in bits (Brümmer and du Preez, Computer Speech and Language 20, 2006).

    Cllr = 1/2 mean over mated log2(1 + exp(-llr)) + 1/2 mean over non-mated log2(1 + exp(llr)),

with natural logarithms of ratios. 0: always right and sure. 1: no information, as by llr = 0 throughout. Above 1:
misleading. minCllr is that of the best non-decreasing map from scores to ratios (pool adjacent violators); what lies
between the two is lost by calibration, not by the recogniser.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.scores.pairs import BIN, PairScores, bins


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """How many mated and non-mated comparisons have each score: (B,) ascending scores, (B,), (B,) counts >= 0."""

    scores: np.ndarray
    mated: np.ndarray
    non_mated: np.ndarray

    @classmethod
    def of(cls, scores: PairScores) -> ScoreCounts:
        """In bins of 2^-16 (at most 131,073), however many comparisons: a score is off by at most 7.7e-6.

        Mated comparisons without a score (no face was found) have no ratio either and take no part.
        """
        mated = np.bincount(bins(np.clip(scores.mated, -1, 1)), minlength=len(scores.histogram))
        used = np.flatnonzero(mated + scores.histogram)
        centres = np.minimum(-1 + BIN * (used + 0.5), 1.0)
        return cls(centres, mated[used], scores.histogram[used])

    @property
    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """(B,), (B,) as shares of their own kind: prior odds of one."""
        totals = self.mated.sum(), self.non_mated.sum()
        if not all(totals):
            raise VultusError("likelihood ratios need mated and non-mated scores: there are none of one kind")
        return self.mated / totals[0], self.non_mated / totals[1]


def cllr(mated: np.ndarray, non_mated: np.ndarray) -> float:
    """Cllr in bits of natural log-likelihood ratios (M,) and (K,); infinite ones are allowed, NaN is an error."""
    mated, non_mated = np.asarray(mated, np.float64), np.asarray(non_mated, np.float64)
    if not (len(mated) and len(non_mated)):
        raise VultusError("Cllr needs ratios of mated and of non-mated comparisons: there are none of one kind")
    if np.isnan(mated).any() or np.isnan(non_mated).any():
        raise VultusError("Cllr of a ratio that is not a number: look at the scores behind it")
    return float(_bits(-mated).mean() + _bits(non_mated).mean()) / 2


def counted_cllr(llr: np.ndarray, counts: ScoreCounts) -> float:
    """Cllr of `llr` (B,), the ratio of each score of `counts`."""
    mated, non_mated = counts.shares
    has_mated, has_non_mated = mated > 0, non_mated > 0  # 0 x inf is no cost
    return float(
        mated[has_mated] @ _bits(-llr[has_mated]) + non_mated[has_non_mated] @ _bits(llr[has_non_mated])
    ) / 2  # fmt: skip


def min_cllr(mated: np.ndarray, non_mated: np.ndarray) -> float:
    """minCllr in bits of scores (M,) and (K,), higher is more alike."""
    mated, non_mated = np.asarray(mated, np.float64), np.asarray(non_mated, np.float64)
    if np.isnan(mated).any() or np.isnan(non_mated).any():
        raise VultusError("minCllr of a score that is not a number: look at the embeddings behind it")
    scores, place = np.unique(np.concatenate([mated, non_mated]), return_inverse=True)
    same = np.bincount(place[: len(mated)], minlength=len(scores))
    other = np.bincount(place[len(mated) :], minlength=len(scores))
    return counted_min_cllr(ScoreCounts(scores, same, other))


def counted_min_cllr(counts: ScoreCounts) -> float:
    starts, mated, non_mated = pool_adjacent_violators(counts)
    return counted_cllr(log_ratio(mated, non_mated), ScoreCounts(counts.scores[starts], mated, non_mated))


def pool_adjacent_violators(counts: ScoreCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blocks of neighbouring scores, the share of mated ones rising: (first index, mated share, non-mated share).

    Isotonic regression at prior odds of one (Ayer et al. 1955); each block's ratio is mated / non-mated.
    """
    same, other = counts.shares
    # Neighbours that are all of one kind end in one block anyway; this leaves at most two blocks a mated score.
    kind = np.where(other == 0, 1, np.where(same == 0, -1, 0))
    breaks = np.flatnonzero((kind[1:] != kind[:-1]) | (kind[1:] == 0)) + 1
    starts = np.concatenate([[0], breaks])
    same, other = np.add.reduceat(same, starts).tolist(), np.add.reduceat(other, starts).tolist()
    blocks: list[tuple[int, float, float]] = []
    for start, m, n in zip(starts.tolist(), same, other, strict=True):
        while blocks and blocks[-1][1] * n >= m * blocks[-1][2]:  # the ratio before is not below this one
            start, before_m, before_n = blocks.pop()
            m, n = m + before_m, n + before_n
        blocks.append((start, m, n))
    first, m, n = zip(*blocks, strict=True)
    return np.array(first), np.array(m), np.array(n)


def log_ratio(mated: np.ndarray, non_mated: np.ndarray) -> np.ndarray:
    """ln(mated / non-mated) of shares; -inf and inf where one of them is 0."""
    with np.errstate(divide="ignore"):
        return np.log(mated) - np.log(non_mated)


def _bits(cost: np.ndarray) -> np.ndarray:
    """log2(1 + exp(cost)), exact for large and infinite values."""
    return np.logaddexp(0, cost) / np.log(2)
