"""Comparisons between the embeddings of two recognisers: whether a new one can be searched in an old one's gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.protocols.verification import FARS, Verification, verify
from vultus.evaluation.scores import TAIL, check_embeddings, two_sets


def verify_cross(
    enrolled: np.ndarray,
    probes: np.ndarray,
    labels: np.ndarray,
    fars: Sequence[float] = FARS,
    *,
    mated_failures: int | np.ndarray = 0,
    block: int | None = None,
    tail: int = TAIL,
) -> Verification:
    """Image i as one recogniser embeds it with image j as another does, for all i != j: N (N - 1) comparisons.

    enrolled, probes: (N, D) float32 unit rows of the same N images, in the same order; labels (N,). Every two images
    are compared twice, each once as the enrolled one. The cross test of Shen et al. 2020 (Towards
    backward-compatible representation learning, arXiv 2003.11942): the new recogniser is compatible where this TAR
    is at least that of the old one with itself. mated_failures: comparisons lost because no face was found.

    Raises VultusError for embeddings of two dimensions, or bad ones (see `verify_all_pairs`).
    """
    enrolled, labels = check_embeddings(enrolled, labels)
    probes, _ = check_embeddings(probes, labels)
    if enrolled.shape[1] != probes.shape[1]:
        raise VultusError(
            f"embeddings of {enrolled.shape[1]} and of {probes.shape[1]} dimensions cannot be compared: "
            "a gallery of the one is of no use to the other"
        )
    found = two_sets(
        enrolled, labels, probes, labels, same_images=True, mated_failures=mated_failures, block=block, tail=tail
    )
    return verify(found, fars, images=len(labels), identities=len(np.unique(labels)))
