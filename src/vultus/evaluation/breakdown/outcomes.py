"""Every comparison of a set decided at one fixed threshold: which mated pairs fail, which strangers match."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.scores import check_embeddings


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Decisions at `threshold` over all pairs of N images of G identities; a match is score >= threshold.

    identity       (N,) int64: identity of each image, coded 0..G-1 in the order of the labels
    mated          (M, 2) int32: rows of the two images of each mated pair, each pair once
    rejected       (M,) bool: whether it is a false non-match
    false_matches  (K, 2) int32: rows of the two images of each non-mated pair that matches
    failures       (G,) int64: mated comparisons of each identity without a score, because no face was found
    """

    threshold: float
    identity: np.ndarray
    mated: np.ndarray
    rejected: np.ndarray
    false_matches: np.ndarray
    failures: np.ndarray

    @cached_property
    def images(self) -> np.ndarray:
        """(G,) images of each identity."""
        return np.bincount(self.identity, minlength=len(self.failures))

    @property
    def identities(self) -> int:
        return len(self.failures)

    @cached_property
    def mated_identity(self) -> np.ndarray:
        """(M,) whose each mated pair is."""
        return self.identity[self.mated[:, 0]]


def decide(
    embeddings: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    *,
    failures: np.ndarray | None = None,
    block: int = 2048,
) -> Outcomes:
    """Compare every image with every other one at `threshold`.

    embeddings (N, D) float32 unit rows, labels (N,) integers; failures (G,): mated comparisons lost by identity (in
    ascending order of the labels), because no face was found in a photograph. Memory beyond the input: one (block,
    block) tile, 9 bytes a mated pair, 8 bytes a false match: choose the threshold where false matches are rare.
    Raises VultusError for bad embeddings, a single identity, or no mated comparison.
    """
    embeddings, labels = check_embeddings(embeddings, labels)
    names, identity = np.unique(labels, return_inverse=True)
    failures = np.zeros(len(names), np.int64) if failures is None else np.asarray(failures, dtype=np.int64)
    if failures.shape != names.shape or (failures < 0).any():
        raise VultusError(f"failures must be counts of the {len(names)} identities, not of shape {failures.shape}")
    if len(names) < 2:
        raise VultusError("one identity only: there is nobody to tell apart; give images of at least two people")
    order = np.argsort(identity, kind="stable")
    rows, runs = embeddings[order], identity[order]
    ends = np.searchsorted(runs, runs, side="right")
    pairs: list[np.ndarray] = []
    rejected: list[np.ndarray] = []
    matched: list[np.ndarray] = []
    at_least = np.float32(threshold)
    for row in range(0, len(rows), block):
        for column in range(row, len(rows), block):
            hits = np.clip(rows[row : row + block] @ rows[column : column + block].T, -1, 1) >= at_least
            left, right = _mated(row, column, hits.shape, ends)
            pairs.append(np.stack([order[left], order[right]], 1).astype(np.int32))
            rejected.append(~hits[left - row, right - column])
            left, right = np.nonzero(hits)
            left, right = left + row, right + column
            strangers = right >= ends[left]
            matched.append(np.stack([order[left[strangers]], order[right[strangers]]], 1).astype(np.int32))
    outcomes = Outcomes(
        threshold=float(threshold),
        identity=identity,
        mated=np.concatenate(pairs),
        rejected=np.concatenate(rejected),
        false_matches=np.concatenate(matched),
        failures=failures,
    )
    if not len(outcomes.mated) and not failures.any():
        raise VultusError("no identity has two images: nothing shows that a person is recognised again; add images")
    return outcomes


def _mated(row: int, column: int, shape: tuple[int, int], ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted positions of the two images of each mated pair inside a tile, the second after the first."""
    rows = np.arange(row, row + shape[0])
    first = np.maximum(rows + 1, column)
    counts = np.maximum(0, np.minimum(ends[rows], column + shape[1]) - first)
    left = np.repeat(rows, counts)
    offsets = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    return left, np.repeat(first, counts) + offsets
