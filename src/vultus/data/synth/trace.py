"""Look at a head: which place of the face plane does every pixel of an aligned crop see, and how deep is it?

Every pixel's ray marches towards the head until it meets the radius of its direction (sphere tracing of a star-shaped
solid): first on a coarse grid, then refined. So noses hide cheeks, and profiles are profiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vultus.data.synth import plane

SIZE = 112
# The ArcFace template for 112x112 crops (right eye, left eye, nose, mouth corners), as complex numbers x + iy.
_TEMPLATE = np.array(
    [38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j]
)
_FAR = 82.0
_HULL = np.array([58.0, 80.0, 70.0], np.float32)  # half axes


@dataclass(frozen=True)
class View:
    """What the camera sees. Maps are (SIZE, SIZE) float32; `x`, `y`, `depth` in the camera's frame, in head units."""

    map_a: np.ndarray  # texel coordinates for cv2.remap
    map_b: np.ndarray
    x: np.ndarray
    y: np.ndarray
    depth: np.ndarray
    alpha: np.ndarray  # how much of the pixel is head
    rotation: np.ndarray  # (3, 3): head frame to camera frame
    similarity: tuple[complex, complex]  # camera x + iy -> pixel: z * s + t

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of points (N, 3) of the head's frame."""
        cam = points @ self.rotation.T
        z = (cam[:, 0] + 1j * cam[:, 1]) * self.similarity[0] + self.similarity[1]
        return np.stack([z.real, z.imag], axis=1)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Head frame to camera frame: yaw about y, then pitch about x, then roll about the view."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return lean @ nod @ turn


def align(landmarks: np.ndarray, jitter: complex, shift: complex) -> tuple[complex, complex]:
    """The similarity that brings projected landmarks (5, 2) to the template, off by a small factor and a shift."""
    # Plain Python: numpy's overhead on five numbers is ten times their cost.
    places = [complex(x, y) for x, y in landmarks.tolist()]
    center, goal = sum(places) / len(places), sum(_TEMPLATE) / len(_TEMPLATE)
    power = sum(abs(place - center) ** 2 for place in places)
    pairs = zip(places, _TEMPLATE, strict=True)
    scale = sum((place - center).conjugate() * (to - goal) for place, to in pairs) / power * jitter
    return scale, goal - scale * center + shift


def look(radius: np.ndarray, turn: np.ndarray, similarity: tuple[complex, complex]) -> View:
    """Trace every pixel's ray to the head: on a coarse grid first, then on the crop's own."""
    inverse = turn.T.astype(np.float32)
    side = plane.TEXELS // 2
    small = cv2.resize(radius, (side, side), interpolation=cv2.INTER_AREA)
    x, y = _rays(similarity, 2)
    start = _meet_hull(inverse, x, y)
    depth, least, _, _ = _march(small, inverse, x, y, start, (0.9, 0.9, 0.85, 0.8, 0.8), stretch=True)
    x, y = _rays(similarity, 1)
    depth, nearest, map_a, map_b = _march(radius, inverse, x, y, _double(depth), (0.8, 0.0), stretch=False)
    # A ray that once dipped below the surface has hit, even where it bounces at a step of the surface.
    nearest = np.minimum(nearest, _double(least) + 0.6)
    # One still far in front of the silhouette is only slow: it grazes a nose.
    nearest -= np.clip((depth - 14) * 0.2, 0, 9)
    alpha = np.clip(1.3 - nearest * (0.8 * abs(similarity[0])), 0, 1)
    return View(map_a, map_b, x, y, depth, alpha, turn, similarity)


def _meet_hull(inverse: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where rays first meet an ellipsoid around head, nose and hair (its middle, for those that miss): depths."""
    right, down, near = (inverse / _HULL[:, None]).T
    a, b1, b2 = float(near @ near), float(near @ right), float(near @ down)
    b = x * b1 + y * b2
    c = x * x * float(right @ right) + y * (x * float(2 * right @ down) + y * float(down @ down)) - 1
    return (np.sqrt(np.clip(b * b - a * c, 0, 4)) - b) * (1 / a)


def _rays(similarity: tuple[complex, complex], step: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the rays of every `step`-th pixel (its block's middle) pierce the camera's plane."""
    slope, offset = 1 / similarity[0], -similarity[1] / similarity[0]
    pixels = np.arange((step - 1) / 2, SIZE, step)
    along_x, along_y = (pixels * slope.real).astype(np.float32), (pixels * slope.imag).astype(np.float32)
    x = np.add.outer(np.float32(offset.real) - along_y, along_x)
    return x, np.add.outer(along_x + np.float32(offset.imag), along_y)


def _double(field: np.ndarray) -> np.ndarray:
    return cv2.resize(field, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)


def _march(
    radius: np.ndarray,
    inverse: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    depth: np.ndarray,
    steps: tuple[float, ...],
    *,
    stretch: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """March from `depth`; returns the depth, the least distance to the surface, and the places on the plane."""
    ax, ay, az = (inverse[k, 0] * x + inverse[k, 1] * y for k in range(3))
    tx, ty, tz = inverse[:, 2].tolist()
    across = x * x + y * y
    density = radius.shape[0] / (2 * plane.HALF)
    middle = radius.shape[0] / 2 - 0.5
    factor = plane.RADIUS * density * 2**0.5
    depth = depth.copy()
    least = np.full_like(depth, 99.0)
    far, spread, map_a, map_b = (np.empty_like(depth) for _ in range(4))
    for step in steps:
        np.multiply(depth, depth, out=far)
        far += across
        np.sqrt(far, out=far)
        # sqrt(2 / (1 + z/far)) / far, with the back of the head kept away from the pole
        np.multiply(depth, tz, out=spread)
        spread += az
        spread += far
        np.maximum(spread, 0.12 * far, out=spread)
        spread *= far
        np.sqrt(spread, out=spread)
        np.divide(factor, spread, out=spread)
        for slant, part, place in ((tx, ax, map_a), (ty, ay, map_b)):
            np.multiply(depth, slant, out=place)
            place += part
            place *= spread
            place += middle
        gap = far - cv2.remap(radius, map_a, map_b, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        np.minimum(least, gap, out=least)
        if step:  # a last look without a step
            gap *= step
            if stretch:
                # Towards the silhouette a ray grazes the surface: it needs longer strides to sink by as much.
                far /= np.clip(depth, 1, _FAR)
                gap *= np.clip(far, 0, 1.7)
            depth -= gap
            np.clip(depth, -12, _FAR, out=depth)
    return depth, least, map_a, map_b
