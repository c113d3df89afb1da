"""What a recogniser must beat: embeddings that know nothing about faces.

A figure means little without them. A set in which people differ in background or skin tone, or in which images of one
person come from one film, lets even these score well.
"""

from __future__ import annotations

import numpy as np

from vultus.errors import VultusError


def mean_colour(crops: np.ndarray) -> np.ndarray:
    """(N, 6) float32 unit rows from (N, H, W, 3) uint8: the mean colour of each crop, ordered by colour difference.

    The cosine of plain colour vectors would ignore brightness. Here each channel's mean c in [0, 1] becomes a point
    (cos pi c, sin pi c) on a half circle, so that a score is the mean of cos(pi * difference) over the channels:
    strictly falling in each channel's difference, and 1 - pi^2/6 * squared distance for small ones.
    """
    mean = _pixels(crops).mean(axis=(1, 2), dtype=np.float64) / 255
    angle = np.pi * mean
    return (np.concatenate([np.cos(angle), np.sin(angle)], axis=1) / np.sqrt(3)).astype(np.float32)


class WhitenedPCA:
    """Eigenfaces with whitening: the `n` strongest directions of training pixels, each scaled to unit variance.

    Works on grey crops shrunk to `size` x `size` by area averaging, each brought to zero mean and unit variance.
    Measured on 4,917 training crops of LFW, TAR at FAR 1e-2 on other people: 0.152 at size 28, 0.152 at 56, 0.157
    without the normalisation (95 % intervals are 0.04 wide): neither choice makes it a weaker opponent. Exact: an
    eigendecomposition of the smaller of the (D, D) scatter and the (N, N) Gram matrix. (Turk and Pentland, Eigenfaces,
    1991; whitened cosine: Moon and Phillips, Perception 2001.)
    """

    def __init__(self, n: int = 128, size: int = 28) -> None:
        self.n = n
        self.size = size

    def fit(self, crops: np.ndarray) -> WhitenedPCA:
        """Learn from (N, H, W, 3) uint8 crops, N > 1; with N <= `n` the components are N - 1."""
        rows = self._rows(crops)
        if len(rows) < 2:
            raise VultusError(f"whitened PCA cannot be fitted on {len(rows)} crop: give at least two")
        self.mean_ = rows.mean(axis=0)
        rows -= self.mean_
        count, dim = rows.shape
        values, vectors = np.linalg.eigh(rows.T @ rows if dim <= count else rows @ rows.T)
        keep = np.argsort(values)[::-1][: min(self.n, count - 1, dim)]
        keep = keep[values[keep] > values.max() * 1e-7]  # below float32's noise a direction is arbitrary
        directions = vectors[:, keep] if dim <= count else rows.T @ vectors[:, keep] / np.sqrt(values[keep])
        self.projection_ = (directions * np.sqrt((count - 1) / values[keep])).astype(np.float32)
        return self

    def transform(self, crops: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 to (N, n) float32 unit rows."""
        if not hasattr(self, "projection_"):
            raise ValueError("fit the PCA on training crops before transforming others")
        projected = (self._rows(crops) - self.mean_) @ self.projection_
        length = np.linalg.norm(projected, axis=1, keepdims=True)
        blank = length[:, 0] == 0
        projected[blank, 0], length[blank] = (1, 1)  # exactly the mean face: any direction is as good
        return projected / length

    def _rows(self, crops: np.ndarray) -> np.ndarray:
        """(N, size * size) float32: grey, shrunk, each row of zero mean and unit variance."""
        import cv2

        crops = _pixels(crops)
        rows = np.empty((len(crops), self.size * self.size), np.float32)
        for row, crop in zip(rows, crops, strict=True):
            grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
            row[:] = cv2.resize(grey, (self.size, self.size), interpolation=cv2.INTER_AREA).ravel()
        rows -= rows.mean(axis=1, keepdims=True)
        rows /= np.maximum(rows.std(axis=1, keepdims=True), 1)  # grey levels; a flat crop stays flat
        return rows


def _pixels(crops: np.ndarray) -> np.ndarray:
    crops = np.asarray(crops)
    if crops.ndim != 4 or crops.shape[-1] != 3 or crops.dtype != np.uint8:
        raise ValueError(f"crops must be (N, H, W, 3) uint8, not {crops.shape} {crops.dtype}")
    return crops
