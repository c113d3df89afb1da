"""The largest scores and the hardest pairs of a stream of tiles."""

from __future__ import annotations

import numpy as np

from vultus.evaluation.scores.pairs import ScoredPair
from vultus.evaluation.scores.tiles import Tile


class Largest:
    """The `keep` largest of a stream: a buffer of twice that, cut by a partition whenever it is full."""

    def __init__(self, keep: int) -> None:
        self.keep = max(1, keep)
        self.cut = np.float32(-np.inf)
        self.parts: list[np.ndarray] = []
        self.held = 0

    def add(self, scores: np.ndarray) -> None:
        chosen = scores[scores > self.cut]  # ties with the cut add nothing: the kept values stay the same
        self.parts.append(chosen)
        self.held += len(chosen)
        if self.held >= 2 * self.keep:
            self._shrink()

    def _shrink(self) -> None:
        values = np.concatenate(self.parts) if self.parts else np.empty(0, np.float32)
        self.parts = []
        if len(values) > self.keep:
            values.partition(len(values) - self.keep)
            values = values[len(values) - self.keep :].copy()
            self.cut = values.min()
        self.parts, self.held = [values], len(values)

    def sorted(self) -> np.ndarray:
        self._shrink()
        return np.sort(self.parts[0])


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
