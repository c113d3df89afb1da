"""The mouth opens: what lies below its line moves down, and its inside shows."""

from __future__ import annotations

import numpy as np

from vultus.data.synth import plane
from vultus.data.synth.conditions import Conditions
from vultus.data.synth.plane import AXIS, smoothstep
from vultus.data.synth.shape import Layout, mouth_line

GAP = 8.5  # between the lips at jaw = 1
_CLOSED = 0.4
_DARK = np.array([52, 20, 20], np.float32)
_TONGUE = np.array([147, 60, 62], np.float32)
_TEETH = np.array([206, 200, 186], np.float32)


def drop_jaw(shift_b: np.ndarray, first: tuple[int, int], at: Layout, c: Conditions) -> None:
    """Part the lips in `shift_b`: where texels come from, vertically; its first texel is `first` (row, column)."""
    gap = GAP * c.jaw
    if gap < _CLOSED:
        return
    rows, columns = plane.window(-47, at.mouth_b - 5, 47, 74)
    a = AXIS[columns]
    line, opening = _lines(a, at, c)
    s = plane.B[rows, columns] - line
    chin = gap * np.exp(-0.5 * (a / 24) ** 2)
    below = opening + (chin - opening) * smoothstep(s - opening, 0.0, 12.0)
    top, left = first
    shift_b[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] -= np.maximum(
        np.minimum(s, below), 0
    )


def paint_mouth(surface: np.ndarray, at: Layout, c: Conditions) -> None:
    """Paint teeth above, tongue below, dark between, in place on a `Head.surface`; and hollow the mouth out."""
    gap = GAP * c.jaw
    if gap < _CLOSED:
        return
    rows, columns = plane.window(-22, at.mouth_b - 6, 22, at.mouth_b + 13)
    line, opening = _lines(AXIS[columns], at, c)
    s = plane.B[rows, columns] - line
    inside = smoothstep(s, -0.3, 0.7) * smoothstep(opening - s, -0.3, 0.7) * np.clip((opening - 0.2) * 2, 0, 1)
    depth = s * (1 / GAP)
    teeth = 1 - smoothstep(depth, 0.3, 0.42)
    tongue = smoothstep(depth, 0.5 * c.jaw + 0.1, 0.9 * c.jaw + 0.1) * (1 - teeth)
    # Teeth recede into the dark of the corners.
    teeth = teeth * (0.62 + 0.7 * np.clip(depth, 0, 0.5)) * (1.05 - 0.5 * (AXIS[columns] / at.mouth_wide) ** 2)
    weights = np.stack([1 - tongue, tongue, teeth], axis=-1)
    color = (weights.reshape(-1, 3) @ np.stack([_DARK, _TONGUE, _TEETH - 30])).reshape(weights.shape)
    overlay(surface[rows, columns], np.clip(color, 0, 235), inside)
    surface[rows, columns, 3] -= 2.5 * inside


def _lines(a: np.ndarray, at: Layout, c: Conditions) -> tuple[np.ndarray, np.ndarray]:
    """The line of the upper lip's edge in this smile, and how far below it the lower lip is."""
    wide = at.mouth_wide + 1.8 * c.smile
    along = np.minimum(np.abs(a) * (1 / wide), 1)
    line = mouth_line(at, a) - 2.2 * c.smile * along**2
    return line, GAP * c.jaw * np.sqrt(1 - along**2)


def overlay(area: np.ndarray, color: np.ndarray, weight: np.ndarray) -> None:
    """Blend a colour (3,) or an image (h, w, 3) over a view of a surface, in place, by weights (h, w) in [0, 1]."""
    for channel in range(3):
        part = area[..., channel]
        step = color[..., channel] - part
        step *= weight
        part += step
