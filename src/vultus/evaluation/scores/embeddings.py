"""What may be compared: finite rows of unit length, as many as there are labels."""

from __future__ import annotations

import numpy as np

from vultus.errors import VultusError

UNIT_TOLERANCE = 1e-3
"""How far a row's length may be from 1: float16 storage of 512 numbers stays below 5e-4."""

ROWS = 2**14
"""Rows that are looked at together, so that a file larger than the memory can be checked."""


def check_embeddings(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 and (N,) labels, or a VultusError that names the first bad row."""
    embeddings, labels = check_rows(embeddings, labels)
    return np.ascontiguousarray(embeddings, dtype=np.float32), labels


def check_rows(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same check, for embeddings of any float type, without a copy of them (a `np.memmap` stays on disk)."""
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise VultusError(
            f"embeddings of shape {embeddings.shape} and labels of shape {labels.shape} do not belong together: "
            "give (N, D) and (N,)"
        )
    for start in range(0, len(labels), ROWS):
        rows = embeddings[start : start + ROWS].astype(np.float32, copy=False)
        lengths = lengths_of(rows)
        finite = np.isfinite(lengths)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise VultusError(f"embedding {row} holds NaN or infinity: look at its crop, or at a model that diverged")
        off = off_unit(lengths)
        if off.any():
            row, length = start + int(np.argmax(off)), lengths[np.argmax(off)]
            raise VultusError(f"embedding {row} has length {length:.4g}, not 1: divide each row by its length")
    return embeddings, labels


def lengths_of(rows: np.ndarray) -> np.ndarray:
    """(N,) float64 lengths of (N, D) rows; NaN or infinite where a row is."""
    with np.errstate(over="ignore"):
        return np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))


def off_unit(lengths: np.ndarray) -> np.ndarray:
    """Which lengths are not 1, NaN among them: the one test of it, wherever embeddings are taken or searched."""
    return ~(np.abs(lengths - 1) <= UNIT_TOLERANCE)  # written so that NaN is off
