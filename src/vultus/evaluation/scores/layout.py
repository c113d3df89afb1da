"""The score matrix of one or two sets, cut into square tiles; mated comparisons lie in a narrow band of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np


class Band(NamedTuple):
    """Two masks over scores: the mated ones, and those that are no non-mated comparison (mated, mirrored, itself)."""

    mated: np.ndarray
    left_out: np.ndarray


@dataclass(frozen=True, eq=False)
class Side:
    """The images of one side in the order of their identities: `codes` (N,) int32, ascending.

    `order` (N,): the row of `embeddings` at each place; None where the rows lie in that order already.
    """

    embeddings: np.ndarray
    codes: np.ndarray
    order: np.ndarray | None

    @classmethod
    def of(cls, embeddings: np.ndarray, codes: np.ndarray) -> Side:
        codes = codes.astype(np.int32)
        if (codes[1:] >= codes[:-1]).all():
            return cls(embeddings, codes, None)
        order = np.argsort(codes, kind="stable")
        return cls(embeddings, codes[order], order)

    def panel(self, places: slice | np.ndarray, memory: np.ndarray | None = None) -> np.ndarray:
        """(R, D) float32 rows: a view where nothing has to be moved or converted, else in `memory` if it is given."""
        if self.order is None:
            rows = self.embeddings[places]
            if rows.dtype == np.float32 or memory is None:
                return rows.astype(np.float32, copy=False)
            memory[: len(rows)] = rows
            return memory[: len(rows)]
        order = self.order[places]
        if self.embeddings.dtype != np.float32 or memory is None:
            return self.embeddings[order].astype(np.float32, copy=False)
        # "clip" (there is nothing to clip) writes straight to `out`; the default would go through a buffer.
        return np.take(self.embeddings, order, axis=0, out=memory[: len(order)], mode="clip")

    def images(self, places: np.ndarray) -> np.ndarray:
        """The rows of `embeddings` at these places."""
        return places if self.order is None else self.order[places]


@dataclass(frozen=True, eq=False)
class Layout:
    """Every row against every column, or (`columns` is `rows`, not `two_sets`) every pair of images once.

    Two sides hold identities in the same codes. `same_images`: place k of both sides is the same image, and is not
    compared with itself.
    """

    rows: Side
    columns: Side
    block: int
    two_sets: bool = False
    same_images: bool = False

    def tiles(self) -> Iterator[tuple[int, int]]:
        """First row and first column of each tile."""
        for row in range(0, len(self.rows.codes), self.block):
            for column in range(0 if self.two_sets else row, len(self.columns.codes), self.block):
                yield row, column

    def __len__(self) -> int:
        rows, columns = -(-len(self.rows.codes) // self.block), -(-len(self.columns.codes) // self.block)
        return rows * columns if self.two_sets else rows * (rows + 1) // 2

    @property
    def comparisons(self) -> int:
        """Mated and non-mated ones."""
        rows, columns = len(self.rows.codes), len(self.columns.codes)
        if not self.two_sets:
            return rows * (rows - 1) // 2
        return rows * columns - (rows if self.same_images else 0)

    @cached_property
    def _runs(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns first[i] <= j < last[i] show the person of row i."""
        first = np.searchsorted(self.columns.codes, self.rows.codes, side="left")
        return first, np.searchsorted(self.columns.codes, self.rows.codes, side="right")

    def band(self, row: int, rows: int, column: int, columns: int) -> Band | None:
        """The masks (rows, columns) of a part of the matrix; None where all of it is non-mated comparisons."""
        first, last = (run[row : row + rows] for run in self._runs)
        if column >= last[-1] or (self.two_sets and column + columns <= first[0]):
            return None
        at, own = np.arange(column, column + columns), np.arange(row, row + rows)[:, None]
        mine = at < last[:, None]
        if not self.two_sets:
            return Band(mine & (at > own), mine)
        mine &= at >= first[:, None]
        return Band(mine & (at != own) if self.same_images else mine, mine)
