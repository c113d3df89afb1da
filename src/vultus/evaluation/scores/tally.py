"""What is kept of all tiles so far; it can be written down and taken up again."""

from __future__ import annotations

import numpy as np

from vultus.evaluation.scores.compare import Part, Scores, joined
from vultus.evaluation.scores.largest import Largest
from vultus.evaluation.scores.pairs import BIN, BINS
from vultus.evaluation.scores.strips import LOWEST

GROWTH = 1.1
"""The cut is looked for anew whenever the comparisons have grown by this factor."""


class Tally:
    """Parts are added in the order of the tiles, so the result does not depend on which thread was faster.

    keep: largest non-mated scores; lowest: lowest mated ones whose places are kept; floor: a guess below the largest.
    """

    def __init__(self, keep: int, lowest: int, floor: float = float(LOWEST)) -> None:
        self.tiles = 0
        self.histogram = np.zeros(BINS, np.int64)
        self.mated: list[tuple[np.ndarray, np.ndarray]] = []
        self.largest, self.lowest = Largest(keep), Largest(lowest)
        self.floor = floor
        self.is_whole = True
        """False while a part is being added: an interruption there leaves nothing that may be written down."""
        self._looked = 0
        self.non_mated = 0

    @property
    def cut(self) -> float:
        """Non-mated scores below it need not be collected."""
        return max(self.largest.cut, self.floor)

    @property
    def is_short(self) -> bool:
        """Whether `floor` was above scores that belong to the largest."""
        return self.largest.held < min(self.largest.keep, self.non_mated)

    def add(self, part: Part) -> None:
        self.is_whole = False
        self.histogram += part.histogram
        self.non_mated += int(part.histogram.sum())
        self.largest.add(part.tail)
        if len(part.mated.values):
            values, rows, columns = part.mated
            self.mated.append((values, rows))
            self.lowest.add(Scores(-values, rows, columns))
        self.tiles += 1
        self.is_whole = True
        if self.non_mated > GROWTH * self._looked:
            self._raise_cut()

    def _raise_cut(self) -> None:
        self._looked = self.non_mated
        above = np.cumsum(self.histogram[::-1])
        enough = int(np.searchsorted(above, max(1, self.largest.keep)))
        if enough < BINS:  # `keep` scores lie in this bin or above
            self.largest.raise_cut(-1 + (BINS - 1 - enough) * BIN)

    def mated_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """(M,) scores and the rows of the layout they come from, as found."""
        if not self.mated:
            return np.empty(0, np.float32), np.empty(0, np.int32)
        values, rows = (np.concatenate(column) for column in zip(*self.mated, strict=True))
        self.mated = [(values, rows)]
        return values, rows

    def state(self) -> dict[str, np.ndarray]:
        """Everything as arrays."""
        mated, rows = self.mated_scores()
        largest, lowest = self.largest.all(), self.lowest.all()
        return {
            "tiles": np.array(self.tiles),
            "floor": np.array(self.floor),
            "histogram": self.histogram,
            "mated": mated,
            "mated_rows": rows,
            **{f"largest_{name}": column for name, column in largest._asdict().items()},
            **{f"lowest_{name}": column for name, column in lowest._asdict().items()},
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.tiles, self.floor = int(state["tiles"]), float(state["floor"])
        self.histogram = state["histogram"]
        self.non_mated = int(self.histogram.sum())
        self.mated = [(state["mated"], state["mated_rows"])]
        for kept, name in ((self.largest, "largest"), (self.lowest, "lowest")):
            kept.add(joined([Scores(*(state[f"{name}_{column}"] for column in Scores._fields))]))
