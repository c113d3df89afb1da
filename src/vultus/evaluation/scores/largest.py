"""The largest scores and the hardest pairs of a stream of tiles."""

from __future__ import annotations

import numpy as np

from vultus.evaluation.scores.pairs import ScoredPair
from vultus.evaluation.scores.tiles import Tile


class Largest:
    """The `keep` largest of a stream, with the places (row, column) they come from.

    Of equal scores the one that came first is kept. A buffer of twice `keep`, cut whenever it is full.
    """

    def __init__(self, keep: int) -> None:
        self.keep = max(1, keep)
        self.cut = np.float32(-np.inf)
        self.parts: list[tuple[np.ndarray, np.ndarray]] = []
        self.held = 0

    def add(self, scores: np.ndarray, row: int, column: int, mask: np.ndarray | None = None) -> None:
        """A tile (R, C) whose first score is at row, column; only where `mask` holds."""
        chosen = scores > self.cut  # a tie with the cut came later than `keep` others: it would be left out
        if mask is not None:
            chosen &= mask
        rows, columns = np.nonzero(chosen)
        self.parts.append((scores[rows, columns], np.stack([rows + row, columns + column], 1).astype(np.int32)))
        self.held += len(rows)
        if self.held >= 2 * self.keep:
            self.sorted()

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) scores, ascending, and (K, 2) int32 places."""
        values = np.concatenate([part[0] for part in self.parts] or [np.empty(0, np.float32)])
        places = np.concatenate([part[1] for part in self.parts] or [np.empty((0, 2), np.int32)])
        best = np.argsort(-values, kind="stable")[: self.keep][::-1]
        values, places = values[best], places[best]
        if len(values) == self.keep:
            self.cut = values[0]
        self.parts, self.held = [(values[::-1], places[::-1])], len(values)
        return values, places


class Hardest:
    """The `keep` highest (sign 1) or lowest (sign -1) pairs, with the indices they have outside the label order."""

    def __init__(self, keep: int, order: np.ndarray, sign: int) -> None:
        self.keep, self.order, self.sign = keep, order, sign
        self.best: list[tuple[float, int, int]] = []

    def look(self, tile: Tile, mask: np.ndarray | None) -> None:
        if self.keep == 0:
            return
        hardness = tile.scores if self.sign > 0 else -tile.scores
        if mask is not None:
            hardness = np.where(mask, hardness, -np.inf)
        cut = self.best[-1][0] if len(self.best) == self.keep else -np.inf
        flat = hardness.ravel()
        if flat.max() <= cut:
            return
        at = np.flatnonzero(flat > cut)
        if len(at) > self.keep:
            at = at[np.argpartition(flat[at], len(at) - self.keep)[len(at) - self.keep :]]
        for row, column, value in zip(*np.unravel_index(at, hardness.shape), flat[at], strict=True):
            i, j = sorted((int(self.order[tile.row + row]), int(self.order[tile.column + column])))
            self.best.append((float(value), i, j))
        self.best = sorted(self.best, key=lambda item: (-item[0], item[1:]))[: self.keep]

    def pairs(self) -> tuple[ScoredPair, ...]:
        return tuple(ScoredPair(i, j, self.sign * value) for value, i, j in self.best)
