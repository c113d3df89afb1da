"""All pairs of a set as square tiles of the score matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Tile(NamedTuple):
    """Scores of rows row.. against columns column.. (in label order); a mask of None means: none / all of them."""

    row: int
    column: int
    scores: np.ndarray
    mated: np.ndarray | None
    non_mated: np.ndarray | None


def tiles(embeddings: np.ndarray, labels: np.ndarray, block: int) -> Iterator[Tile]:
    """The upper triangle of all pairs; `labels` ascending. The yielded scores are overwritten by the next tile."""
    n = len(labels)
    run_end = np.searchsorted(labels, labels, side="right")
    memory = np.empty(block * block, dtype=np.float32)
    for row in range(0, n, block):
        rows = embeddings[row : row + block]
        ends = run_end[row : row + block, None]
        for column in range(row, n, block):
            columns = embeddings[column : column + block]
            scores = memory[: len(rows) * len(columns)].reshape(len(rows), len(columns))
            np.matmul(rows, columns.T, out=scores)
            np.clip(scores, -1, 1, out=scores)
            if column >= ends[-1, 0]:
                yield Tile(row, column, scores, None, None)
                continue
            at = np.arange(column, column + len(columns))
            beyond = at >= ends
            mated = ~beyond & (at > np.arange(row, row + len(rows))[:, None])
            yield Tile(row, column, scores, mated, beyond)
