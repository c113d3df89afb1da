"""Scores of a part of the matrix, a few rows at a time, in memory that is used again and again."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from vultus.evaluation.scores.layout import Band, Layout
from vultus.evaluation.scores.pairs import BIN

STEP = 512
"""Rows of one matrix product: its scores (3 MiB) are still in the cache when they are counted. Measured: 256 rows cost
8 % more, 1024 save 1 %."""

SCALE = np.float32(1 / BIN)
"""The rows are multiplied by it before the product, which scales every score exactly: its floor is the bin."""

NOTHING = np.float32(-1.015625 * SCALE)
"""In the place of a score that is no non-mated comparison."""

LOWEST = np.float32(-1.01)
"""Below every score (rows are of unit length to 1e-3), above NOTHING / SCALE."""


class Strip(NamedTuple):
    """Scaled scores (R, C) float32 from this row and column on; overwritten by the next strip.

    `above` (R, C) bool is memory for masks.
    """

    row: int
    column: int
    scores: np.ndarray
    above: np.ndarray
    band: Band | None


class Memory:
    """What one thread needs at a time.

    All of it is made before the threads start: what a thread allocates itself stays with it when it is freed, and a
    fresh array for each tile costs a page fault every 4 KiB.
    """

    def __init__(self, size: int, dimensions: int) -> None:
        self.rows = np.empty((size, dimensions), np.float32)
        self.columns = np.empty((size, dimensions), np.float32)
        self.scores = np.empty(min(size, STEP) * size, np.float32)
        self.above = np.empty(min(size, STEP) * size, np.bool_)


class Strips:
    """For at most `threads` threads at once, of panels of at most `size` images."""

    def __init__(self, layout: Layout, threads: int, size: int | None = None) -> None:
        self.layout = layout
        size = min(size or layout.block, max(len(layout.rows.codes), len(layout.columns.codes)))
        self._free: SimpleQueue[Memory] = SimpleQueue()
        for _ in range(threads):
            self._free.put(Memory(size, layout.rows.embeddings.shape[1]))

    def of(self, rows: slice, columns: slice) -> Iterator[Strip]:
        """Every score of these rows and columns, but for the mirrored half of a tile on the diagonal (in steps)."""
        memory = self._free.get()
        try:
            panel = self.layout.rows.panel(rows, memory.rows)
            panel = np.multiply(panel, SCALE, out=memory.rows[: len(panel)])
            other = self.layout.columns.panel(columns, memory.columns)
            mirrored = rows.start == columns.start and not self.layout.two_sets
            for start in range(0, len(panel), STEP):
                skip = start if mirrored else 0
                part, against = panel[start : start + STEP], other[skip:]
                shape = len(part), len(against)
                scores, above = (full[: shape[0] * shape[1]].reshape(shape) for full in (memory.scores, memory.above))
                np.matmul(part, against.T, out=scores)
                row, column = rows.start + start, columns.start + skip
                yield Strip(row, column, scores, above, self.layout.band(row, len(part), column, len(against)))
        finally:
            self._free.put(memory)
