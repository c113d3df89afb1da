"""Every comparison of a set, in bounded memory: cosine scores of all pairs, block by block."""

from __future__ import annotations

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.scores.largest import Hardest, Largest
from vultus.evaluation.scores.pairs import BINS, HARDEST, TAIL, PairScores, bins
from vultus.evaluation.scores.tiles import tiles

UNIT_TOLERANCE = 1e-3
"""How far a row's length may be from 1: float16 storage of 512 numbers stays below 5e-4."""


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
    mated: list[np.ndarray] = []
    histogram = np.zeros(BINS, dtype=np.int64)
    largest = Largest(tail)
    worst_non_mated, worst_mated = (Hardest(hardest, order, 1), Hardest(hardest, order, -1))
    count = 0
    for tile in tiles(embeddings[order], labels[order], block):
        if tile.mated is not None:
            mated.append(tile.scores[tile.mated])
            worst_mated.look(tile, tile.mated)
        scores = tile.scores.ravel() if tile.non_mated is None else tile.scores[tile.non_mated]
        if scores.size:
            count += scores.size
            histogram += np.bincount(bins(scores), minlength=BINS)
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
