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
_TEMPLATE = (38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j)
_FAR = 82.0
# The middles of every pixel, and of every block of two, and ones: (2, n).
_GRIDS = {
    step: np.stack([np.arange((step - 1) / 2, SIZE, step), np.ones(SIZE // step)]).astype(np.float32) for step in (1, 2)
}
_HULL = np.array([58.0, 80.0, 70.0], np.float32)  # half axes


@dataclass(frozen=True)
class View:
    """What the camera sees. Maps are (SIZE, SIZE) float32; `depth` in the camera's frame, in head units."""

    map_a: np.ndarray  # texel coordinates for cv2.remap
    map_b: np.ndarray
    depth: np.ndarray
    alpha: np.ndarray  # how much of the pixel is head
    rotation: np.ndarray  # (3, 3): head frame to camera frame
    similarity: tuple[complex, complex]  # camera x + iy -> pixel: z * s + t

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of points (N, 3) of the head's frame."""
        cam = points @ self.rotation.T
        z = (cam[:, 0] + 1j * cam[:, 1]) * self.similarity[0] + self.similarity[1]
        return np.stack([z.real, z.imag], axis=1)

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Where pixels x + iy lie on the camera's plane: complex, in head units."""
        return (pixels - self.similarity[1]) / self.similarity[0]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Head frame to camera frame: yaw about y, then pitch about x, then roll about the view."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return lean @ nod @ turn


def align(landmarks: np.ndarray, jitter: complex, shift: complex) -> tuple[complex, complex]:
    """The similarity that brings projected landmarks (5, 2) to the template, off by a small factor and a shift."""
    # Plain Python: numpy's overhead on five numbers is ten times their cost, and its scalars make float64 of arrays.
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
    rays = _rays(similarity, inverse, 2)
    start = _meet_hull(rays)
    depth, least, _, _ = _march(small, rays, start, (0.9, 0.9, 0.85, 0.8, 0.8), stretch=True)
    depth, nearest, map_a, map_b = _march(radius, _rays(similarity, inverse, 1), _double(depth), (0.8,), stretch=False)
    # A ray that once dipped below the surface has hit, even where it bounces at a step of the surface.
    least += 0.6
    cv2.min(nearest, _double(least), nearest)
    # One still far in front of the silhouette is only slow: it grazes a nose.
    slow = cv2.addWeighted(depth, 0.2, depth, 0.0, -2.8)
    nearest -= slow.clip(0, 9, out=slow)
    alpha = cv2.addWeighted(nearest, -0.8 * abs(similarity[0]), nearest, 0.0, 1.3)
    return View(map_a, map_b, depth, alpha.clip(0, 1, out=alpha), turn, similarity)


@dataclass(frozen=True)
class _Rays:
    """Parallel rays, one a pixel of a grid: in the head's frame, at depth d, it is at (ax, ay, az) + d * toward."""

    ax: np.ndarray
    ay: np.ndarray
    az: np.ndarray
    toward: np.ndarray
    away: np.ndarray  # distance from the ray through the head's centre


def _rays(similarity: tuple[complex, complex], inverse: np.ndarray, step: int) -> _Rays:
    """The rays of every `step`-th pixel, through its block's middle."""
    slope, offset = 1 / similarity[0], -similarity[1] / similarity[0]
    grid = _GRIDS[step]
    # The camera's plane is a linear map of the pixels, so all is a sum of a line across and a line down.
    plate = [complex(x, -y) for x, y in inverse[:, :2].tolist()]
    across = np.array([[(side * slope).real, (side * offset).real] for side in plate], np.float32) @ grid
    down = np.array([-(side * slope).imag for side in plate], np.float32)[:, None] * grid[0]
    ax, ay, az = across[:, None, :] + down[:, :, None]
    middle = -offset / slope
    x, y = (abs(slope) * (grid[0] - place) for place in (middle.real, middle.imag))
    return _Rays(ax, ay, az, inverse[:, 2], cv2.sqrt(np.add.outer(y * y, x * x)))


def _meet_hull(rays: _Rays) -> np.ndarray:
    """Where rays first meet an ellipsoid around head, nose and hair (its middle, for those that miss): depths."""
    near = rays.toward / _HULL
    x, y, z = rays.ax * (1 / _HULL[0]), rays.ay * (1 / _HULL[1]), rays.az * (1 / _HULL[2])
    a = float(near @ near)
    b = x * near[0] + y * near[1] + z * near[2]
    c = x * x + y * y + z * z - 1
    return (np.sqrt((b * b - a * c).clip(0, 4)) - b) * np.float32(1 / a)


def _double(field: np.ndarray) -> np.ndarray:
    return cv2.resize(field, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)


def _march(
    radius: np.ndarray, rays: _Rays, depth: np.ndarray, steps: tuple[float, ...], *, stretch: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """March on from `depth`, in place; returns it, the least distance to the surface, and the places on the plane.

    The places are those before the last step, which moves them by less than can be seen.
    """
    tx, ty, tz = rays.toward.tolist()
    density = radius.shape[0] / (2 * plane.HALF)
    middle = radius.shape[0] / 2 - 0.5
    factor = plane.RADIUS * density * 2**0.5
    least: np.ndarray | None = None
    far, spread, bound, map_a, map_b = (np.empty_like(depth) for _ in range(5))
    for step in steps:
        cv2.magnitude(depth, rays.away, far)
        # sqrt(2 / (1 + z/far)) / far, with the back of the head kept away from the pole
        cv2.addWeighted(depth, tz, far, 1.0, 0.0, spread)
        spread += rays.az
        np.multiply(far, 0.12, out=bound)
        cv2.max(spread, bound, spread)
        spread *= far
        cv2.sqrt(spread, spread)
        np.divide(factor, spread, out=spread)
        for slant, part, place in ((tx, rays.ax, map_a), (ty, rays.ay, map_b)):
            cv2.scaleAdd(depth, slant, part, place)
            place *= spread
            place += middle
        gap = far - cv2.remap(radius, map_a, map_b, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        least = gap.copy() if least is None else cv2.min(least, gap, least)
        if stretch:
            # Towards the silhouette a ray grazes the surface: it needs longer strides to sink by as much.
            far /= depth.clip(1, _FAR, out=bound)
            gap *= far.clip(0, 1.7, out=far)
        cv2.scaleAdd(gap, -step, depth, depth)
        depth.clip(-12, _FAR, out=depth)
    assert least is not None, "march at least a step"
    return depth, least, map_a, map_b
