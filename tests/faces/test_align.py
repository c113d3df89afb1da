"""Alignment: the least-squares similarity, and what lands where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import VultusError
from vultus.faces import LANDMARKS, Face, align, select_faces, similarity_transform


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The textbook SVD solution (Umeyama 1991), as a reference."""
    s, t = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(t.T @ s / len(s))
    sign = np.diag([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / (s**2).sum() * len(s)
    shift = target.mean(0) - scale * rotation @ source.mean(0)
    return np.column_stack([scale * rotation, shift])


@given(st.integers(0, 2**32 - 1))
def test_the_closed_form_is_umeyama(seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(5, 2)) * 40 + 100
    np.testing.assert_allclose(similarity_transform(points), umeyama(points, LANDMARKS.astype(float)), atol=1e-6)


def test_batches_agree_with_one_by_one() -> None:
    points = np.random.default_rng(0).normal(size=(7, 5, 2)) * 30
    np.testing.assert_allclose(similarity_transform(points), [similarity_transform(p) for p in points])


def blobs(points: np.ndarray, size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size, 3), np.uint8)
    for column, row in points:
        image[(x - column) ** 2 + (y - row) ** 2 < radius**2] = 255
    return image


@pytest.mark.parametrize("scale", [0.8, 1.0, 3.0, 9.0])
def test_landmarks_land_on_the_template(scale: float) -> None:
    angle = np.exp(0.3j)
    z = (LANDMARKS[:, 0] + 1j * LANDMARKS[:, 1] - (56 + 56j)) * angle * scale + 600 * (1 + 1j)
    points = np.stack([z.real, z.imag], 1).astype(np.float32)
    crop = align(blobs(points, 1200, 5 * scale), points)
    assert crop.shape == (112, 112, 3)
    y, x = np.mgrid[:112, :112]
    for column, row in LANDMARKS:
        near = (x - column) ** 2 + (y - row) ** 2 < 64
        weight = crop[..., 0] * near
        found = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
        np.testing.assert_allclose(found, [column, row], atol=0.3)


def face(left: float, top: float, side: float) -> Face:
    return Face(np.array([left, top, left + side, top + side], np.float32), LANDMARKS, 0.9)


def test_selection() -> None:
    corner, middle = face(0, 0, 60), face(90, 90, 20)
    assert select_faces([corner, middle], (200, 200), "center") == [middle]
    assert select_faces([corner, middle], (200, 200), "largest") == [corner]
    assert select_faces([corner, middle], (200, 200), "all") == [corner, middle]
    assert select_faces([], (200, 200), "center") == []
    with pytest.raises(VultusError, match="center, largest or all"):
        select_faces([], (9, 9), "biggest")  # type: ignore[arg-type]
