"""Comparisons between the embeddings of two recognisers: whether a new one can be searched in an old one's gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.protocols.verification import FARS, Verification, verify
from vultus.evaluation.scores import BINS, TAIL, PairScores, check_embeddings
from vultus.evaluation.scores.largest import Largest
from vultus.evaluation.scores.pairs import bins


def verify_cross(
    enrolled: np.ndarray,
    probes: np.ndarray,
    labels: np.ndarray,
    fars: Sequence[float] = FARS,
    *,
    block: int = 2048,
    tail: int = TAIL,
) -> Verification:
    """Image i as one recogniser embeds it with image j as another does, for all i != j: N (N - 1) comparisons.

    enrolled, probes: (N, D) float32 unit rows of the same N images, in the same order; labels (N,). Every two images
    are compared twice, each once as the enrolled one. The cross test of Shen et al. 2020 (Towards
    backward-compatible representation learning, arXiv 2003.11942): the new recogniser is compatible where this TAR
    is at least that of the old one with itself.

    Raises VultusError for embeddings of two dimensions, or bad ones (see `verify_all_pairs`).
    """
    enrolled, labels = check_embeddings(enrolled, labels)
    probes, _ = check_embeddings(probes, labels)
    if enrolled.shape[1] != probes.shape[1]:
        raise VultusError(
            f"embeddings of {enrolled.shape[1]} and of {probes.shape[1]} dimensions cannot be compared: "
            "a gallery of the one is of no use to the other"
        )
    mated: list[np.ndarray] = []
    histogram, largest, count = np.zeros(BINS, dtype=np.int64), Largest(tail), 0
    for row in range(0, len(labels), block):
        for column in range(0, len(labels), block):
            rows, columns = slice(row, row + block), slice(column, column + block)
            scores = np.clip(enrolled[rows] @ probes[columns].T, -1, 1)
            same = labels[rows, None] == labels[None, columns]
            strange = ~same
            strangers = scores[strange]
            if row == column:
                np.fill_diagonal(same, False)  # an image with itself
            mated.append(scores[same])
            histogram += np.bincount(bins(strangers), minlength=BINS)
            largest.add(scores, row, column, strange)
            count += strangers.size
    found = PairScores(np.sort(np.concatenate(mated)), 0, count, largest.sorted()[0], histogram)
    return verify(found, fars, images=len(labels), identities=len(np.unique(labels)))
