"""How comparisons are spread over identities: what an interval must know beside the number of errors.

Two comparisons that share a person are not independent. Every rate is a sum over identities (mated) or over pairs of
identities (non-mated), and the classes here give the number of comparisons in each term without a list of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np


class Comparisons(Protocol):
    """Counts over G identities, coded 0..G-1."""

    @property
    def mated(self) -> np.ndarray:
        """(G,) int64: mated comparisons of each identity."""
        ...

    @property
    def non_mated(self) -> np.ndarray:
        """(G,) int64: non-mated comparisons that each identity takes part in; its sum is twice their number."""
        ...

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(P,) int64: non-mated comparisons between the identities first[k] and second[k]."""
        ...

    @property
    def squares(self) -> float:
        """Sum over the pairs of identities i < j of between(i, j)^2."""
        ...

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        """(R,) float64: sum over i < j of w_i w_j between(i, j), for weights (R, G): a resample's comparisons."""
        ...


@dataclass(frozen=True, eq=False)
class TwoSets:
    """Every enrolled image with every probe: `enrolled` (G,) and `probes` (G,) images of each identity.

    `AllPairs` is the case of one set compared with itself. Comparisons of an image with itself are counted by
    `same_images` (mated ones, to be left out).
    """

    enrolled: np.ndarray
    probes: np.ndarray
    same_images: np.ndarray | int = 0

    @property
    def mated(self) -> np.ndarray:
        return self.enrolled * self.probes - self.same_images

    @property
    def non_mated(self) -> np.ndarray:
        a, b = self.enrolled, self.probes
        return a * (b.sum() - b) + b * (a.sum() - a)

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        a, b = self.enrolled, self.probes
        return a[first] * b[second] + a[second] * b[first]

    @property
    def squares(self) -> float:
        a, b = self.enrolled.astype(np.float64), self.probes.astype(np.float64)
        # Half the sum over i != j of (a_i b_j + a_j b_i)^2.
        return float((a @ a) * (b @ b) + (a @ b) ** 2 - 2 * ((a * b) @ (a * b)))

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        a, b = self.enrolled.astype(np.float64), self.probes.astype(np.float64)
        return (weights @ a) * (weights @ b) - (weights**2) @ (a * b)


@dataclass(frozen=True, eq=False)
class AllPairs:
    """Every image with every other one, once: `images` (G,) int64 of each identity."""

    images: np.ndarray

    @property
    def mated(self) -> np.ndarray:
        return self.images * (self.images - 1) // 2

    @property
    def non_mated(self) -> np.ndarray:
        return self.images * (self.images.sum() - self.images)

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return self.images[first] * self.images[second]

    @property
    def squares(self) -> float:
        n = self.images.astype(np.float64)
        return float(((n @ n) ** 2 - (n**2) @ (n**2)) / 2)

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        n = self.images.astype(np.float64)
        return ((weights @ n) ** 2 - (weights**2) @ (n**2)) / 2


@dataclass(frozen=True, eq=False)
class Listed:
    """A list of comparisons: (P, 2) identity codes of each, in 0..identities-1; mated where the two are one."""

    pairs: np.ndarray
    identities: int

    @property
    def mated(self) -> np.ndarray:
        return self._counts[0]

    @property
    def non_mated(self) -> np.ndarray:
        return self._counts[1]

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        keys, counts = self._unordered
        wanted = pair_key(first, second, self.identities)
        at = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
        if not len(keys):
            return np.zeros(len(wanted), np.int64)
        return np.where(keys[at] == wanted, counts[at], 0)

    @property
    def squares(self) -> float:
        counts = self._unordered[1].astype(np.float64)
        return float(counts @ counts)

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        keys, counts = self._unordered
        first, second = keys // self.identities, keys % self.identities
        return np.array([(row[first] * row[second]) @ counts for row in weights])

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        same = self.pairs[:, 0] == self.pairs[:, 1]
        mated, apart = self.pairs[same, 0], self.pairs[~same].ravel()
        return np.bincount(mated, minlength=self.identities), np.bincount(apart, minlength=self.identities)

    @cached_property
    def _unordered(self) -> tuple[np.ndarray, np.ndarray]:
        """Ascending keys of the pairs of identities that are compared, and how often each is."""
        apart = self.pairs[self.pairs[:, 0] != self.pairs[:, 1]]
        return np.unique(pair_key(apart[:, 0], apart[:, 1], self.identities), return_counts=True)


def pair_key(first: np.ndarray, second: np.ndarray, identities: int) -> np.ndarray:
    """One int64 for each unordered pair of identities."""
    low, high = np.minimum(first, second).astype(np.int64), np.maximum(first, second).astype(np.int64)
    return low * identities + high
