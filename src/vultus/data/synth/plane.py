"""The face plane: the head's surface, unrolled.

A head is a star-shaped solid: a radius for every direction from its centre. Directions are laid out on a plane by
Lambert's azimuthal equal-area projection about the direction in which the face looks, so that nothing on the front or
the sides is singular, the map costs one square root, and a unit near the middle is about a pixel of an aligned crop.
Axes: a to the image's right, b down, z out of the face.
"""

from __future__ import annotations

import numpy as np

TEXELS = 176  # side of every map of the plane
HALF = 86.0  # the plane spans [-HALF, HALF] in a and b: up to 112 degrees from the front
RADIUS = 52.0  # of the projection: makes a unit of the plane a pixel of a crop
DENSITY = TEXELS / (2 * HALF)

AXIS = ((np.arange(TEXELS, dtype=np.float32) + 0.5) / DENSITY - HALF).astype(np.float32)
A = np.ascontiguousarray(np.broadcast_to(AXIS[None, :], (TEXELS, TEXELS)))
B = np.ascontiguousarray(A.T)

_Q = np.minimum((A * A + B * B) / RADIUS**2, 3.9)
DIR_Z = (1 - _Q / 2).astype(np.float32)
_SHRINK = np.sqrt((1 + DIR_Z) / 2) / RADIUS
DIR_X = (A * _SHRINK).astype(np.float32)
DIR_Y = (B * _SHRINK).astype(np.float32)


def texel(value: float) -> int:
    """The index of the texel that holds a coordinate of the plane."""
    return min(max(round((value + HALF) * DENSITY - 0.5), 0), TEXELS - 1)


def window(a0: float, b0: float, a1: float, b1: float) -> tuple[slice, slice]:
    """The slices (rows, columns) of a rectangle of the plane."""
    return slice(texel(b0), texel(b1) + 1), slice(texel(a0), texel(a1) + 1)


def direction(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Unit vectors (N, 3) of points of the plane."""
    z = 1 - np.minimum((a * a + b * b) / RADIUS**2, 3.9) / 2
    shrink = np.sqrt((1 + z) / 2) / RADIUS
    return np.stack([a * shrink, b * shrink, z], axis=1)


class Bumps:
    """A sum of axis-aligned Gaussians on the plane, evaluated at once as a product of two thin matrices."""

    def __init__(self, rows: np.ndarray = AXIS, columns: np.ndarray = AXIS) -> None:
        self._rows, self._columns = rows, columns
        self._parts: list[tuple[float, float, float, float, float]] = []

    def add(self, a: float, b: float, wide: float, high: float, amount: float, *, pair: bool = False) -> None:
        """Add a Gaussian at (a, b) with the given standard deviations; `pair` adds its mirror image at (-a, b)."""
        self._parts.append((a, b, wide, high, amount))
        if pair:
            self._parts.append((-a, b, wide, high, amount))

    def sum(self) -> np.ndarray:
        """The sum, float32 (rows, columns)."""
        if not self._parts:
            return np.zeros((len(self._rows), len(self._columns)), np.float32)
        a, b, wide, high, amount = np.array(self._parts, np.float32).T[:, :, None]
        across = np.exp(-0.5 * np.square((self._columns - a) / wide))
        down = np.exp(-0.5 * np.square((self._rows - b) / high)) * amount
        return down.T @ across


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = ((values - low) * (1 / (high - low))).clip(0, 1)
    return t * t * (3 - 2 * t)
