"""Hair and hats: a second layer over the head, new in every image, begun at the identity's hairline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from vultus.data.synth import plane, texture
from vultus.data.synth.conditions import Conditions
from vultus.data.synth.expression import Head
from vultus.data.synth.plane import smoothstep
from vultus.data.synth.space import between

_STEP = 2  # the layer lives on a grid of half the plane's density
_A = np.ascontiguousarray(0.5 * (plane.A[::_STEP, ::_STEP] + plane.A[1::_STEP, 1::_STEP]))
_B = np.ascontiguousarray(_A.T)
_ROW = np.ascontiguousarray(_A[:1])  # one line of the grid along a
_COLUMN = np.ascontiguousarray(_B[:, :1])  # and one along b
_ABS_ROW = np.abs(_ROW)
_PEAK = np.exp(-0.5 * ((_ABS_ROW - 24) / 9) ** 2) - 0.55 * np.exp(-0.5 * (_ROW / 9) ** 2)  # and receding corners
_RISE = 0.55 + 0.45 * smoothstep(-_COLUMN, -20, 50)  # hair is thickest at the top
_HANG = smoothstep(_COLUMN, -5, 15)
_CURTAIN = np.clip(47 / np.maximum(np.abs(plane.DIR_X[::_STEP, ::_STEP]), 0.05), 0, 90).astype(np.float32)
_STUBBLE = np.ascontiguousarray(texture.mottle()[: _A.shape[0], : _A.shape[1]])


@dataclass(frozen=True)
class Hair:
    """The layer: `mask` float32 in [0, 1] on the half-density grid, its colour, its strands, how it shines."""

    mask: np.ndarray
    color: np.ndarray
    strands: np.ndarray
    shine: float


def dress(head: Head, c: Conditions, radius: np.ndarray) -> Hair:
    """Lay hair, or a hat, over the head; `radius` (TEXELS, TEXELS) grows under it, in place."""
    if c.hat is not None:
        return _hat(c, radius)
    t = head.traits
    line = between(t["hair_line"], 43.0, 57.0)
    # Above: the hairline with its peak and its receding corners, and what falls over it today.
    recede = between(t["hair_peak"], 5.0, -9.0)
    top = 0.0055 * _ROW * _ROW - line + recede * _PEAK
    if c.fringe > 2.5:
        lean = 0.35 * c.part / 26
        top = top + c.fringe * np.exp(-0.5 * ((_ROW + 0.8 * c.part) / 30) ** 4) * (1 - lean * _ROW / 25)
    strands = texture.strands(c.hair_style)
    ragged, tufts = _locks(c.hair_style)
    above = top - _COLUMN
    # Beside: temples and sideburns down to where the hair is cut, or falls.
    side = 53.0 + 0.009 * (_COLUMN + 10) ** 2
    beside = np.minimum(_ABS_ROW - side, 0.6 * (c.hair_side - _COLUMN))
    if c.hair_side < 20:  # cut around the ears
        near = (1.25 * (_ABS_ROW - head.layout.ear_a)) ** 2 + (_COLUMN - head.layout.ear_b) ** 2
        near *= 0.055
        near -= 6.6
        near -= ragged
        beside = np.minimum(beside, near, out=beside)
    mask = np.maximum(above, beside, out=above)
    mask += ragged
    mask *= 0.35
    mask += 0.5
    mask.clip(0, 1, out=mask)
    volume = between(t["hair_thick"], 2.0, 7.5) * c.hair_volume
    thick = tufts + volume * _RISE
    thick *= mask
    radius += _to_plane(cv2.blur(thick, (5, 5)))
    if c.hair_side >= 20:
        hanging = _CURTAIN + 0.5 * volume
        hanging *= mask * _HANG
        cv2.max(radius, _to_plane(hanging), radius)
    color = head.hair if c.dye is None else 0.25 * head.hair + 0.75 * c.dye
    # Thin hair lets the scalp through.
    cover = min(1.0, 0.72 + 0.5 * c.hair_volume * between(t["hair_thick"], 0.2, 1.0))
    return Hair(mask * np.float32(cover), color, strands, 0.5)


@cache
def _locks(style: int) -> tuple[np.ndarray, np.ndarray]:
    """How strands make the layer's edge ragged and its thickness uneven, on the layer's grid."""
    strands = texture.strands(style)[::_STEP, ::_STEP]
    return 4.5 * (strands - 0.5) + 0.5 * _STUBBLE, 3.0 * (strands - 0.4)


def _hat(c: Conditions, radius: np.ndarray) -> Hair:
    """A knitted cap or the like, down to somewhere on the forehead."""
    edge = -44 + 0.4 * abs(c.part) + 0.002 * _ROW * _ROW + 0.12 * _ROW * c.part / 26
    mask = np.clip(0.9 * (edge - _COLUMN) + 0.5, 0, 1)
    side = np.clip(0.5 * (np.abs(_ROW) - 58), 0, 1) * np.clip(0.4 * (-8 - _COLUMN), 0, 1)
    mask = np.maximum(mask, side)
    rib = 0.35 * np.sin(0.9 * _ROW) if c.hair_style % 2 else 0.25 * np.sin(0.8 * _COLUMN)
    fold = 1.8 * smoothstep(_COLUMN - edge, -11, -9.5)
    radius += _to_plane((mask * (4.0 + fold + rib)).astype(np.float32))
    return Hair(mask, np.asarray(c.hat), np.full_like(plane.A, 0.6), 0.05)


def _to_plane(field: np.ndarray) -> np.ndarray:
    return cv2.resize(field, (plane.TEXELS, plane.TEXELS), interpolation=cv2.INTER_LINEAR)
