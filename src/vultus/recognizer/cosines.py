"""How alike two networks' embeddings of the same crops are."""

from __future__ import annotations

import numpy as np


def row_cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosine of each row of (N, D) with the same row of the other, (N,); 0 for a row of length 0, NaN for a NaN."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / np.maximum(lengths, 1e-12)
