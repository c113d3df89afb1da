"""Which images of a set take part, so that a few much photographed people do not decide every figure."""

from __future__ import annotations

import numpy as np


def cap_per_identity(labels: np.ndarray, maximum: int | None) -> np.ndarray:
    """Indices, ascending, of the first `maximum` images of each identity (all of them for None); labels (N,)."""
    labels = np.asarray(labels)
    if maximum is None:
        return np.arange(len(labels))
    if maximum < 1:
        raise ValueError(f"at most {maximum} images an identity leaves nothing to compare")
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    rank = np.arange(len(labels)) - np.searchsorted(ordered, ordered, side="left")
    return np.sort(order[rank < maximum])
