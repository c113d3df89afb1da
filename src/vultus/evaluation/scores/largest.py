"""The largest scores of a stream that comes in a fixed order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vultus.evaluation.scores.compare import Scores, joined
from vultus.evaluation.scores.strips import LOWEST
from vultus.evaluation.scores.threads import in_order

SLACK = 1.5
"""How many times `keep` are held before the smallest are thrown out."""

MANY = 2**16
"""Scores from which on several threads sort them."""


class Largest:
    """The `keep` largest scores; of equal ones those that came first. What is below `cut` need not be added."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.cut = float(LOWEST)
        self._edge = float(LOWEST)  # `keep` scores are known to be >= it; the cut may lie just above the least of them
        self.parts: list[Scores] = []
        self.held = 0

    def add(self, scores: Scores) -> None:
        if len(scores.values):
            self.parts.append(scores)
            self.held += len(scores.values)
        if self.held > SLACK * self.keep:
            self._throw_out()
            if self.held > (1 + SLACK) / 2 * self.keep:
                self._keep_exactly()

    def raise_cut(self, edge: float) -> None:
        """At least `keep` of the stream's scores so far are known to be >= `edge`."""
        self._edge = max(self._edge, edge)
        self.cut = max(self.cut, self._edge)

    def all(self) -> Scores:
        """What is kept, in the order in which it came."""
        if self.held > self.keep:
            self._keep_exactly()
        return self._together()

    def ascending(self, threads: int = 1) -> Scores:
        """What is kept, in ascending order; of equal scores the one that came first is the last."""
        self._throw_out()
        ranks = _ranks(self._column("values"))
        first = max(0, len(ranks) - self.keep)
        if threads == 1 or len(ranks) < MANY:
            ranks.sort()
        else:
            _sort(ranks, first, threads)
        order = ranks[first:]
        order &= LAST
        np.subtract(LAST, order, out=order)
        return Scores(*(self._column(name)[order.view(np.int64)] for name in Scores._fields))

    def _throw_out(self) -> None:
        for number, part in enumerate(self.parts):  # one by one: together they would be held twice
            chosen = part.values >= np.float32(self._edge)
            self.parts[number] = Scores(*(column[chosen] for column in part))
        self.held = sum(len(part.values) for part in self.parts)

    def _keep_exactly(self) -> None:
        scores = self._together()
        if self.keep == 0:
            self._hold(scores, np.zeros(len(scores.values), bool))
            return
        ranks = _ranks(scores.values)
        last = len(ranks) - self.keep
        self._hold(scores, ranks >= np.partition(ranks, last)[last])
        # An equal score that comes later would not be kept: from now on only larger ones count.
        self.cut = max(self.cut, float(np.nextafter(self.parts[0].values.min(), np.float32(np.inf))))

    def _hold(self, scores: Scores, chosen: np.ndarray) -> None:
        kept = Scores(*(column[chosen] for column in scores))
        self.parts, self.held = [kept], len(kept.values)

    def _column(self, name: str) -> np.ndarray:
        """Of all parts; alone, so that the others are not held twice."""
        return np.concatenate([getattr(part, name) for part in self.parts] or [getattr(joined([]), name)])

    def _together(self) -> Scores:
        self.parts = [joined(self.parts)]
        return self.parts[0]


LAST = np.uint64(2**32 - 1)


def _sort(ranks: np.ndarray, first: int, threads: int) -> None:
    """From `first` on, in place; the rest stays below."""
    cuts = np.linspace(first, len(ranks), threads + 1).astype(int)
    ranks.partition(cuts[:-1])
    for _ in in_order(np.ndarray.sort, [ranks[start:end] for start, end in pairwise(cuts)], threads):
        pass


def _ranks(values: np.ndarray) -> np.ndarray:
    """One uint64 for each score that grows with it and, among equal ones, falls with the place in the array."""
    bits = (values + np.float32(0)).view(np.int32)  # -0 + 0 is 0: both are one score
    # Floats of one sign sort like their bits; those of negative ones have to be turned round.
    bits ^= (bits >> 31) & np.int32(2**31 - 1)
    ranks = bits.astype(np.int64).view(np.uint64)
    ranks += np.uint64(2**31)
    ranks <<= np.uint64(32)
    ranks |= np.arange(2**32 - 1, 2**32 - 1 - len(values), -1, dtype=np.uint32)
    return ranks
