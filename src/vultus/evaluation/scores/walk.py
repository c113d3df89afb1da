"""Every comparison of a set, in bounded memory: cosine scores of all pairs, block by block."""

from __future__ import annotations

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.scores.failures import by_identity, with_failures
from vultus.evaluation.scores.largest import Hardest, Largest
from vultus.evaluation.scores.pairs import BINS, HARDEST, TAIL, PairScores, bins
from vultus.evaluation.scores.tiles import tiles

UNIT_TOLERANCE = 1e-3
"""How far a row's length may be from 1: float16 storage of 512 numbers stays below 5e-4."""


def all_pairs(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    mated_failures: int | np.ndarray = 0,
    block: int = 2048,
    tail: int = TAIL,
    hardest: int = HARDEST,
) -> PairScores:
    """Compare every image with every other one, once.

    embeddings (N, D) float32 with unit rows, labels (N,) integers (identity). Scores are float32 cosines clipped to
    [-1, 1]. Identities are coded 0..G-1 in the order of `np.unique(labels)`. `mated_failures`: mated comparisons that
    have no score (no face was found), (G,) by identity or in all (a total above zero leaves the mated scores without
    identities). Memory beyond the input: one (block, block) tile, its bins and places, the tail, the mated scores.
    A tile of another size may round a dot product differently in the last bit (about 1e-7).
    Raises VultusError for a row with NaN, a row that is not of unit length, or labels of another length.
    """
    embeddings, labels = check_embeddings(embeddings, labels)
    identities, codes, images = np.unique(labels, return_inverse=True, return_counts=True)
    failures = by_identity(mated_failures, len(identities))
    order = np.argsort(codes, kind="stable")  # identities in runs: mated pairs lie in a narrow band at the diagonal
    codes = codes[order].astype(np.int32)
    mated: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    histogram = np.zeros(BINS, dtype=np.int64)
    largest = Largest(tail)
    worst_non_mated, worst_mated = (Hardest(hardest, order, 1), Hardest(hardest, order, -1))
    count = 0
    for tile in tiles(embeddings[order], codes, block):
        if tile.mated is not None:
            mated.append(tile.scores[tile.mated])
            owners.append(codes[tile.row + np.nonzero(tile.mated)[0]])
            worst_mated.look(tile, tile.mated)
        scores = tile.scores.ravel() if tile.non_mated is None else tile.scores[tile.non_mated]
        if scores.size:
            count += scores.size
            histogram += np.bincount(bins(scores), minlength=BINS)
            largest.add(tile.scores, tile.row, tile.column, tile.non_mated)
            worst_non_mated.look(tile, tile.non_mated)
    tail_scores, places = largest.sorted()
    scores = np.concatenate(mated) if mated else np.empty(0, np.float32)
    ascending = np.argsort(scores, kind="stable")
    return PairScores(
        mated=scores[ascending],
        mated_failures=int(np.sum(mated_failures)),
        non_mated=count,
        tail=tail_scores,
        histogram=histogram,
        hardest_mated=worst_mated.pairs(),
        hardest_non_mated=worst_non_mated.pairs(),
        comparisons=with_failures(AllPairs(images), failures),
        mated_identity=None if failures is None else np.concatenate(owners or [np.empty(0, np.int32)])[ascending],
        failures=failures,
        tail_identities=codes[places],
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
