"""One tile of the score matrix on the processor: its mated scores, its largest non-mated ones, counts of the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vultus.evaluation.scores.layout import Layout
from vultus.evaluation.scores.pairs import BINS
from vultus.evaluation.scores.strips import LOWEST, NOTHING, SCALE, Strips

PIECE = 2**16
"""Scores that are turned into bin numbers together."""

ZERO = -int(NOTHING)
"""Bin of the score 0 in the raw counts, whose first bin holds what is NOTHING. There is room beyond [-1, 1]: rounding
can put the score of a face with itself above 1."""

RAW = 2 * ZERO
"""Bins of the raw counts."""


class Scores(NamedTuple):
    """Scores (K,) float32 and their places in the layout: rows and columns (K,) int32."""

    values: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


class Part(NamedTuple):
    """What one tile adds: all its mated scores, its non-mated ones from the cut on, the histogram of all of these."""

    mated: Scores
    tail: Scores
    histogram: np.ndarray


class Compare:
    """Called from at most `threads` threads at once."""

    def __init__(self, layout: Layout, threads: int) -> None:
        self.block, self.strips = layout.block, Strips(layout, threads)

    def __call__(self, tile: tuple[int, int], cut: float) -> Part:
        """The tile that starts at that row and column; of the non-mated scores those >= `cut` are returned."""
        least = np.float32(max(cut, LOWEST)) * SCALE
        counts = np.zeros(RAW, np.int64)
        mated, tail = [], []
        for row, column, scores, above, band in self.strips.of(*(slice(start, start + self.block) for start in tile)):
            if band is not None:
                mated.append(_chosen(scores, np.flatnonzero(band.mated), row, column))
                scores[band.left_out] = NOTHING
            np.greater_equal(scores, least, out=above)
            tail.append(_chosen(scores, np.flatnonzero(above), row, column))
            _count(scores.reshape(-1), counts)
        return Part(joined(mated), joined(tail), folded(counts))


def _count(scores: np.ndarray, counts: np.ndarray) -> None:
    """Add to the raw counts; the scores are overwritten."""
    short, long = np.empty(PIECE, np.int32), np.empty(PIECE, np.intp)
    for start in range(0, len(scores), PIECE):
        piece = scores[start : start + PIECE]
        np.floor(piece, out=piece)
        piece += np.float32(ZERO)
        # By way of int32: both conversions are vectorised, float32 to int64 is not (0.25 against 0.5 ns a score).
        np.copyto(short[: len(piece)], piece, casting="unsafe")
        np.copyto(long[: len(piece)], short[: len(piece)])
        np.add.at(counts, long[: len(piece)], 1)  # bincount is no faster and needs memory of its own


def _chosen(scores: np.ndarray, at: np.ndarray, row: int, column: int) -> Scores:
    rows, columns = np.divmod(at.astype(np.int32), np.int32(scores.shape[1]))
    values = np.clip(scores.reshape(-1)[at], -SCALE, SCALE) / SCALE
    return Scores(values, rows + np.int32(row), columns + np.int32(column))


def joined(scores: list[Scores]) -> Scores:
    """One after the other."""
    if len(scores) == 1:
        return scores[0]
    if not scores:
        return Scores(np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.int32))
    return Scores(*(np.concatenate(column) for column in zip(*scores, strict=True)))


def folded(counts: np.ndarray) -> np.ndarray:
    """(BINS,) from the raw counts: scores beyond [-1, 1] are clipped, the first bin holds what is no score."""
    low = ZERO - int(SCALE)
    histogram = counts[low : low + BINS].copy()
    histogram[0] += counts[1:low].sum()
    histogram[-1] += counts[low + BINS :].sum()
    return histogram
