"""Do two networks give the same embeddings? Asked of a few procedural crops."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from vultus.errors import ContractError

COSINE = 0.9999
"""Least cosine between two embeddings of one crop that counts as the same network."""
CROPS = 6


@lru_cache(maxsize=1)
def parity_crops() -> np.ndarray:
    """(6, 112, 112, 3) uint8 RGB: six invented people, drawn by the package. Read-only, shared."""
    from vultus.data.synth import ProceduralFaces

    faces = ProceduralFaces(seed=4)
    crops = np.stack([faces.render(identity, 0) for identity in range(CROPS)])
    crops.setflags(write=False)
    return crops


def check_parity(
    ours: Callable[[np.ndarray], np.ndarray], theirs: Callable[[np.ndarray], np.ndarray], what: str
) -> float:
    """Least cosine over the procedural crops, each function giving unit embeddings (N, D) of crops.

    Raises `ContractError` below 0.9999, naming `what` was loaded.
    """
    crops = parity_crops()
    first, second = ours(crops.copy()), theirs(crops.copy())
    if first.shape != second.shape:
        raise ContractError(f"{what}: embeddings of shape {first.shape} instead of {second.shape}")
    least = float((first * second).sum(1).min())
    if not least >= COSINE:
        raise ContractError(
            f"{what}: the loaded network does not give the file's embeddings (cosine {least:.5f}, at least {COSINE} "
            "needed); load_weights(..., check=False) loads it all the same"
        )
    return least
