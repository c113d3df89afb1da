"""Embeddings that know nothing about faces."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation import WhitenedPCA, mean_colour


def crops(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)


def test_mean_colour_orders_by_colour_difference():
    shades = np.array([[100, 100, 100], [104, 100, 100], [100, 110, 100], [10, 10, 10], [250, 250, 250]], np.uint8)
    rows = mean_colour(np.broadcast_to(shades[:, None, None], (5, 8, 8, 3)))
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-6)
    scores = rows @ rows[0]
    assert np.all(np.diff(scores) < 0)  # 10 and 250: brightness counts, though the hue is the same


@pytest.mark.parametrize("count", [40, 400])  # fewer and more crops than the 15 x 15 pixels
def test_whitened_pca_is_white_and_finds_the_variance(count):
    rng = np.random.default_rng(1)
    patterns = rng.normal(size=(6, 15, 15)) * np.array([9, 7, 5, 4, 3, 2])[:, None, None]
    images = np.einsum("nk,kij->nij", rng.normal(size=(count, 6)), patterns) * 3 + 128 + rng.normal(size=(15, 15)) * 20
    grey = np.clip(images, 0, 255).astype(np.uint8)[..., None].repeat(3, -1)
    pca = WhitenedPCA(n=6, size=15).fit(grey)
    assert pca.projection_.shape == (225, 6)
    projected = (pca._rows(grey) - pca.mean_) @ pca.projection_
    assert np.cov(projected.T) == pytest.approx(np.eye(6), abs=2e-3)
    rows = pca._rows(grey)
    singular = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:6]
    angles = np.linalg.svd(singular @ np.linalg.qr(pca.projection_)[0])[1]
    assert angles == pytest.approx(1, abs=1e-3)  # the same six directions as an SVD


def test_whitened_pca_gives_unit_rows_whatever_the_crop():
    pca = WhitenedPCA(n=128).fit(crops(20))
    flat = np.full((1, 112, 112, 3), 77, np.uint8)
    rows = pca.transform(np.concatenate([crops(5, seed=1), flat]))
    assert rows.dtype == np.float32
    assert rows.shape == (6, 19)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)


def test_it_says_what_is_missing():
    with pytest.raises(VultusError, match="at least two"):
        WhitenedPCA().fit(crops(1))
    with pytest.raises(ValueError, match="fit the PCA"):
        WhitenedPCA().transform(crops(1))
    with pytest.raises(ValueError, match="uint8"):
        mean_colour(crops(1).astype(np.float32))
