"""Scores of a part of the matrix, a few rows at a time, in memory that each thread keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vultus.evaluation.scores.layout import Band, Layout
from vultus.evaluation.scores.pairs import BIN

STEP = 512
"""Rows of one matrix product: 2048 x 512 scores (4 MiB) are still in the cache when they are counted. Measured: 256
rows cost 8 % more, 1024 save 1 %."""

SCALE = np.float32(1 / BIN)
"""The rows are multiplied by it before the product, which scales every score exactly: its floor is the bin."""

NOTHING = np.float32(-2 * SCALE)
"""In the place of a score that is no non-mated comparison."""

LOWEST = np.float32(-1.5)
"""Below every score (rows are of unit length to 1e-3), above NOTHING / SCALE."""


class Strip(NamedTuple):
    """Scaled scores (R, C) float32 from this row and column on; overwritten by the thread's next strip."""

    row: int
    column: int
    scores: np.ndarray
    band: Band | None


class Strips:
    """Made once, used from several threads."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._own = threading.local()

    def of(self, rows: slice, columns: slice) -> Iterator[Strip]:
        """Every score of these rows and columns, but for the mirrored half of a tile on the diagonal (in steps)."""
        panel = self.layout.rows.panel(rows) * SCALE
        other = self.layout.columns.panel(columns)
        mirrored = rows.start == columns.start and not self.layout.two_sets
        for start in range(0, len(panel), STEP):
            skip = start if mirrored else 0
            part = panel[start : start + STEP]
            scores = self.memory("scores", (len(part), len(other) - skip), np.float32)
            np.matmul(part, other[skip:].T, out=scores)
            row, column = rows.start + start, columns.start + skip
            yield Strip(row, column, scores, self.layout.band(row, len(part), column, len(other) - skip))

    def memory(self, name: str, shape: int | tuple[int, ...], dtype: type) -> np.ndarray:
        """This thread's array of that name, made once: a fresh one for each tile costs a page fault per 4 KiB."""
        size = int(np.prod(shape))
        held = getattr(self._own, name, None)
        if held is None or held.size < size:
            held = np.empty(size, dtype)
            setattr(self._own, name, held)
        return held[:size].reshape(shape)
