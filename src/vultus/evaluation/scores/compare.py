"""One tile of the score matrix on the processor: its mated scores, its largest non-mated ones, counts of the rest."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from vultus.evaluation.scores.layout import Layout
from vultus.evaluation.scores.pairs import BIN, BINS

STEP = 512
"""Rows of one matrix product: 2048 x 512 scores (4 MiB) are still in the cache when they are counted. Measured: 256
rows cost 8 % more, 1024 save 1 %."""

PIECE = 2**16
"""Scores that are turned into bin numbers together."""

SCALE = np.float32(1 / BIN)
"""The rows are multiplied by it before the product, which scales every score exactly: its floor is the bin."""

NOTHING = np.float32(-2 * SCALE)
"""In the place of a score that is no non-mated comparison: it falls into a bin that is thrown away."""

LOWEST = np.float32(-1.5)
"""Below every score (rows are of unit length to 1e-3), above NOTHING."""

RAW = 2**18
"""Bins of the raw counts, from -2 to 2: rounding can put the score of a face with itself above 1."""


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
    """Called from several threads, each with its own memory of about 6 MiB (and one panel of rows and of columns)."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.own = threading.local()

    def __call__(self, row: int, column: int, cut: float) -> Part:
        """The tile that starts there; of the non-mated scores those >= `cut` are returned."""
        layout, block = self.layout, self.layout.block
        panel = layout.rows.panel(slice(row, row + block)) * SCALE
        columns = layout.columns.panel(slice(column, column + block))
        least = np.float32(max(cut, LOWEST)) * SCALE
        counts = np.zeros(RAW, np.int64)
        mated, tail = [], []
        for start in range(0, len(panel), STEP):
            rows = panel[start : start + STEP]
            skip = start if row == column and not layout.two_sets else 0  # the mirrored half, as far as steps go
            scores = self._memory("scores", STEP * block, np.float32)[: len(rows) * (len(columns) - skip)]
            scores = scores.reshape(len(rows), -1)
            np.matmul(rows, columns[skip:].T, out=scores)
            band = layout.band(row + start, *scores.shape[:1], column + skip, *scores.shape[1:])
            if band is not None:
                mated.append(_chosen(scores, np.flatnonzero(band.mated), row + start, column + skip))
                scores[band.left_out] = NOTHING
            above = np.greater_equal(scores, least, out=self._memory("above", scores.shape, np.bool_))
            tail.append(_chosen(scores, np.flatnonzero(above), row + start, column + skip))
            self._count(scores.reshape(-1), counts)
        return Part(joined(mated), joined(tail), folded(counts))

    def _count(self, scores: np.ndarray, counts: np.ndarray) -> None:
        numbers = self._memory("bins", PIECE, np.intp)
        for start in range(0, len(scores), PIECE):
            piece = scores[start : start + PIECE]
            np.floor(piece, out=piece)
            piece += np.float32(RAW // 2)
            index = numbers[: len(piece)]
            np.copyto(index, piece, casting="unsafe")
            np.add.at(counts, index, 1)

    def _memory(self, name: str, shape: int | tuple[int, ...], dtype: type) -> np.ndarray:
        """This thread's array of that name, made once: a fresh one for each tile costs a page fault per 4 KiB."""
        size = int(np.prod(shape))
        held = getattr(self.own, name, None)
        if held is None or held.size < size:
            held = np.empty(size, dtype)
            setattr(self.own, name, held)
        return held[:size].reshape(shape)


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
    low = RAW // 4
    histogram = counts[low : low + BINS].copy()
    histogram[0] += counts[1:low].sum()
    histogram[-1] += counts[low + BINS :].sum()
    return histogram
