"""Every comparison of a set, in bounded memory: cosine scores of all pairs, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vultus.errors import VultusError

BIN = 2.0**-16
"""Width of a histogram bin. A power of two: score / BIN is exact in float32, so no score ever lands in a wrong bin."""

BINS = 2**17 + 1
"""Bins over [-1, 1]; the last one holds only the score 1."""

TAIL = 2**24
"""How many of the largest non-mated scores are kept one by one (64 MiB; up to four times that while collecting)."""

HARDEST = 24
"""How many of the hardest pairs are kept with their indices, for people to look at."""

UNIT_TOLERANCE = 1e-3
"""How far a row's length may be from 1: float16 storage of 512 numbers stays below 5e-4."""


class ScoredPair(NamedTuple):
    """Images `i` < `j` (rows of the embeddings) and their cosine."""

    i: int
    j: int
    score: float


@dataclass(frozen=True, eq=False)
class PairScores:
    """What is kept of all comparisons.

    mated            (M,) float32, ascending: every mated score that could be computed
    mated_failures   mated comparisons without a score (no face was found); each is a false non-match
    non_mated        number of non-mated comparisons
    tail             (min(K, non_mated),) float32, ascending: the largest non-mated scores
    histogram        (BINS,) int64: non-mated scores in bins of 2^-16 from -1
    hardest_*        the lowest mated and the highest non-mated pairs, hardest first
    """

    mated: np.ndarray
    mated_failures: int
    non_mated: int
    tail: np.ndarray
    histogram: np.ndarray
    hardest_mated: tuple[ScoredPair, ...] = ()
    hardest_non_mated: tuple[ScoredPair, ...] = ()

    @property
    def mated_comparisons(self) -> int:
        return len(self.mated) + self.mated_failures

    @property
    def is_complete(self) -> bool:
        """Whether every non-mated score is kept, so that nothing below comes from the histogram."""
        return len(self.tail) == self.non_mated

    def threshold(self, false_matches: int) -> float:
        """The smallest float32 threshold that lets at most `false_matches` non-mated comparisons through.

        Exact inside the tail. Below it (more than K false matches) the next bin edge above: up to 2^-16 too high,
        never too low.
        """
        if false_matches >= self.non_mated:
            return float(np.nextafter(np.float32(self._lowest()), np.float32(-np.inf)))
        if false_matches < len(self.tail):
            return _just_above(self.tail[-1 - false_matches])
        above = np.cumsum(self.histogram[::-1])[::-1]  # above[b]: scores at or above the lower edge of bin b
        return float(-1 + BIN * int(np.argmax(above <= false_matches)))

    def snap(self, threshold: float) -> float:
        """`threshold` itself where non-mated scores can be counted exactly, else the next bin edge above it."""
        if self.is_complete or threshold > self.tail[0]:
            return threshold
        return float(np.ceil(threshold / BIN) * BIN)

    def false_matches(self, threshold: float) -> int:
        """Non-mated comparisons with score >= `threshold` (a value that `snap` leaves alone)."""
        if self.is_complete or threshold > self.tail[0]:
            return len(self.tail) - int(np.searchsorted(self.tail, np.float32(threshold), side="left"))
        return int(self.histogram[max(0, int(np.ceil((threshold + 1) / BIN))) :].sum())

    def false_non_matches(self, threshold: float) -> int:
        """Mated comparisons with score < `threshold`, failures included."""
        return self.mated_failures + int(np.searchsorted(self.mated, np.float32(threshold), side="left"))

    def _lowest(self) -> float:
        return float(self.tail[0]) if self.is_complete else -1.0


def all_pairs(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    mated_failures: int = 0,
    block: int = 2048,
    tail: int = TAIL,
    hardest: int = HARDEST,
) -> PairScores:
    """Compare every image with every other one, once.

    embeddings (N, D) float32 with unit rows, labels (N,) integers (identity). Scores are float32 cosines clipped to
    [-1, 1]. Memory beyond the input: one (block, block) tile and its bins, up to 4 x `tail` scores, the mated scores.
    A tile of another size may round a dot product differently in the last bit (about 1e-7).
    Raises VultusError for a row with NaN, a row that is not of unit length, or labels of another length.
    """
    embeddings, labels = check_embeddings(embeddings, labels)
    order = np.argsort(labels, kind="stable")  # identities in runs: mated pairs lie in a narrow band at the diagonal
    tiles = _tiles(embeddings[order], labels[order], block)
    mated: list[np.ndarray] = []
    histogram = np.zeros(BINS, dtype=np.int64)
    largest = _Largest(tail)
    worst_non_mated, worst_mated = (_Hardest(hardest, order, 1), _Hardest(hardest, order, -1))
    count = 0
    for tile in tiles:
        if tile.mated is not None:
            mated.append(tile.scores[tile.mated])
            worst_mated.look(tile, tile.mated)
        scores = tile.scores.ravel() if tile.non_mated is None else tile.scores[tile.non_mated]
        if scores.size:
            count += scores.size
            histogram += np.bincount(_bins(scores), minlength=BINS)
            largest.add(scores)
            worst_non_mated.look(tile, tile.non_mated)
    return PairScores(
        mated=np.sort(np.concatenate(mated)) if mated else np.empty(0, np.float32),
        mated_failures=mated_failures,
        non_mated=count,
        tail=largest.sorted(),
        histogram=histogram,
        hardest_mated=worst_mated.pairs(),
        hardest_non_mated=worst_non_mated.pairs(),
    )


def explicit_scores(mated: np.ndarray, non_mated: np.ndarray, *, mated_failures: int = 0) -> PairScores:
    """The same object from score arrays that are at hand.

    A mated score of -inf is a failure (no face found), a false non-match. A non-mated -inf is left out: a face that
    was not found is no correct rejection. NaN and +inf are errors.
    """
    mated, non_mated = (np.asarray(scores, dtype=np.float32).ravel() for scores in (mated, non_mated))
    for name, scores in (("mated", mated), ("non-mated", non_mated)):
        bad = np.isnan(scores) | np.isposinf(scores)
        if bad.any():
            raise VultusError(f"{name} score {int(bad.argmax())} is not a number: look at the embeddings behind it")
    non_mated = non_mated[~np.isneginf(non_mated)]
    failed = np.isneginf(mated)
    return PairScores(
        mated=np.sort(mated[~failed]),
        mated_failures=mated_failures + int(failed.sum()),
        non_mated=len(non_mated),
        tail=np.sort(non_mated),
        histogram=np.bincount(_bins(np.clip(non_mated, -1, 1)), minlength=BINS),
    )


def check_embeddings(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 and (N,) labels, or a VultusError that names the first bad row."""
    embeddings, labels = (np.ascontiguousarray(embeddings, dtype=np.float32), np.asarray(labels))
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise VultusError(
            f"embeddings of shape {embeddings.shape} and labels of shape {labels.shape} do not belong together: "
            "give (N, D) and (N,)"
        )
    lengths = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    finite = np.isfinite(lengths)
    if not finite.all():
        row = int(np.argmin(finite))
        raise VultusError(f"embedding {row} holds NaN or infinity: look at its crop, or at a model that diverged")
    off = np.abs(lengths - 1) > UNIT_TOLERANCE
    if off.any():
        row = int(np.argmax(off))
        raise VultusError(f"embedding {row} has length {lengths[row]:.4g}, not 1: divide each row by its length")
    return embeddings, labels


class _Tile(NamedTuple):
    """Scores of rows row.. against columns column.. (in label order); a mask of None means: none / all of them."""

    row: int
    column: int
    scores: np.ndarray
    mated: np.ndarray | None
    non_mated: np.ndarray | None


def _tiles(embeddings: np.ndarray, labels: np.ndarray, block: int) -> Iterator[_Tile]:
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
                yield _Tile(row, column, scores, None, None)
                continue
            at = np.arange(column, column + len(columns))
            beyond = at >= ends
            mated = ~beyond & (at > np.arange(row, row + len(rows))[:, None])
            yield _Tile(row, column, scores, mated, beyond)


def _bins(scores: np.ndarray) -> np.ndarray:
    """Index of the bin of each score in [-1, 1]; exact, because the bin width is a power of two."""
    return np.floor(scores * np.float32(1 / BIN)).astype(np.int32) + 2**16


def _just_above(score: np.floating) -> float:
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


class _Largest:
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


class _Hardest:
    """The `keep` highest (sign 1) or lowest (sign -1) pairs, with the indices they have outside the label order."""

    def __init__(self, keep: int, order: np.ndarray, sign: int) -> None:
        self.keep, self.order, self.sign = keep, order, sign
        self.best: list[tuple[float, int, int]] = []

    def look(self, tile: _Tile, mask: np.ndarray | None) -> None:
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
