"""Rows at four bits a coordinate (turbovec's TurboQuant): a quick first look, whose error is measured and bounded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MOST_ROWS = 32_767
"""In one set of codes. From 32,768 on turbovec preselects by one bit a coordinate, which loses rows; a scan of fewer
looks at all four bits of every row."""
LEAST_BLOCKS = 1024
"""From so many blocks of 32 on turbovec scans for a single probe with its fast kernel (6 times as fast as below)."""
PADDED_FROM = 5_000
"""Rows from which on a set is filled up to that number of blocks with rows of zeros: quicker than the slow kernel."""
SAMPLE, PROBES = 256, 512
"""Rows and random probes with which the error of the codes is measured."""
MISSED = 1e-9
"""Probability that one row's error exceeds `slack`, over the random rotation of the collection. Only the best rows can
be missed, not all: a search for k persons returns another than an exact one with at most k/2 times this probability."""


class Codes:
    """(n, D) float32 unit rows at four bits a coordinate, immutable; any number of threads may scan them.

    TurboQuant (Zandieh et al., arXiv 2504.19874) rotates rows, rounds each coordinate to one of 16 levels and scales
    the result so that what is lost, the residual r of a row x, is orthogonal to x. The score of a probe q is then off
    by q·r. Rows and probes of a collection are rotated by a secret, uniformly drawn orthogonal matrix, so that the
    angle between r and q's part orthogonal to x is that between a fixed and a uniformly random direction in D-1
    dimensions, whatever q and x are. `slack` bounds the error from that: the largest residual of a sample of the rows,
    times the cosine that is exceeded with probability `MISSED`.
    """

    def __init__(self, index: Any, size: int, slack: float) -> None:
        self._index = index
        self._size = size
        self.slack = slack
        """No score is off by more."""

    @classmethod
    def of(cls, rows: np.ndarray) -> Codes:
        """Codes of (n, D) float32 unit rows, n <= MOST_ROWS."""
        index = _coded(rows)
        size = len(rows)
        if PADDED_FROM <= size <= 32 * (LEAST_BLOCKS - 1):
            index.add(np.zeros((MOST_ROWS - size, index.dim), np.float32), chunk_size=0)
        index.prepare()
        return cls(index, size, _slack(rows))

    def scan(self, probes: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """The k best of the allowed rows for each probe, (Q, D) float32: scores (Q, k'), rows (Q, k'), floors (Q,).

        Scores are off by up to `slack`. Rows that are not there (k' may be more than are allowed) score -inf. Nothing
        that is not returned scores more than the probe's floor; -inf where everything allowed is.
        """
        if allowed is None and len(self._index) == self._size:
            scores, places = self._index.search(_widened(probes), min(k, self._size))
            return scores, places, scores.min(1) if k < self._size else np.full(len(probes), -np.inf)
        mask = None
        there = self._size
        if allowed is not None:
            mask = np.zeros(len(self._index), bool)
            mask[: self._size] = allowed
            there = int(np.count_nonzero(allowed))
        scores, places = self._index.search(_widened(probes), min(k, len(self._index)), mask=mask)
        real = places < self._size
        floors = np.where(np.count_nonzero(real, 1) < there, scores.min(1, initial=np.inf), -np.inf)
        if not real.all():
            scores, places = np.where(real, scores, -np.inf), np.where(real, places, 0)
        return scores, places, floors

    def to_array(self) -> np.ndarray:
        """Bytes from which `from_array` makes the same codes, uint8."""
        return np.frombuffer(self._index.to_bytes(), np.uint8)

    @classmethod
    def from_array(cls, content: np.ndarray, size: int, slack: float) -> Codes:
        """The codes of `to_array`; ValueError where the content is none, or of another release of turbovec."""
        from turbovec import TurboQuantIndex

        index = TurboQuantIndex.from_bytes(content.tobytes())
        if not size <= len(index) <= MOST_ROWS or not 0 <= slack <= 2:
            raise ValueError("codes that do not fit their rows")
        index.prepare()
        return cls(index, size, slack)


def _widened(rows: np.ndarray) -> np.ndarray:
    """Contiguous rows with zeros up to a multiple of eight coordinates, which turbovec asks for."""
    rest = -rows.shape[1] % 8
    return np.pad(rows, ((0, 0), (0, rest))) if rest else np.ascontiguousarray(rows)


def _coded(rows: np.ndarray) -> Any:
    from turbovec import TurboQuantIndex

    wide = _widened(rows)
    index = TurboQuantIndex(dim=wide.shape[1], bit_width=4)
    index.add(wide, chunk_size=0)
    return index


def _slack(rows: np.ndarray) -> float:
    sample = rows[:: max(1, len(rows) // SAMPLE)][:SAMPLE]
    dim = rows.shape[1]
    probes = np.random.default_rng(0).standard_normal((PROBES, dim), dtype=np.float32)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    scores, places = _coded(sample).search(_widened(probes), len(sample))
    errors = scores - np.take_along_axis(probes @ sample.T, places, 1)
    squares = np.zeros(len(sample))
    np.add.at(squares, places.ravel(), np.square(errors, dtype=np.float64).ravel())
    residual = math.sqrt(dim * squares.max() / PROBES)  # a random unit probe meets a residual r with variance |r|²/D
    return residual * _cosine(dim - 1) + dim * 2.0**-23


def _cosine(dim: int) -> float:
    """What |cosine| of a uniformly random direction of `dim` dimensions exceeds with at most the probability MISSED.

    From the bound (1 - t²)^((dim - 1) / 2) / (t √dim) for t >= √(2 / dim): Brieden et al., Mathematika 48 (2001).
    """
    if dim <= 2:
        return 1.0
    low, high = math.sqrt(2 / dim), 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if (dim - 1) / 2 * math.log1p(-middle * middle) - math.log(middle * math.sqrt(dim)) > math.log(MISSED):
            low = middle
        else:
            high = middle
    return high
