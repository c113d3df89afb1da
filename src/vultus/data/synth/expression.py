"""A face at rest becomes a face in a moment: mouth, cheeks, brows and lids move, eyes look somewhere."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vultus.data.synth import plane, texture
from vultus.data.synth.conditions import Conditions
from vultus.data.synth.eyes import EyePlan, paint_eyes
from vultus.data.synth.mouth import drop_jaw, overlay, paint_mouth
from vultus.data.synth.plane import AXIS, Bumps
from vultus.data.synth.shape import Layout
from vultus.data.synth.space import Traits

_STEP = 4  # expressions are smooth: their fields are kept for blocks of 4x4 texels


def _whole_blocks(span: slice) -> slice:
    return slice(span.start, span.start + (span.stop - span.start) // _STEP * _STEP)


_FACE = (_whole_blocks(plane.window(0, -46, 0, 77)[0]), _whole_blocks(plane.window(-48, 0, 48, 0)[1]))
_DOWN, _ACROSS = AXIS[_FACE[0]], AXIS[_FACE[1]]
_FIRST = (_FACE[0].start, _FACE[1].start)
_HERE_A = np.tile(np.arange(_FACE[1].start, _FACE[1].stop, dtype=np.float32), (len(_DOWN), 1))  # texels of the face
_HERE_B = np.repeat(np.arange(_FACE[0].start, _FACE[0].stop, dtype=np.float32)[:, None], len(_ACROSS), axis=1)


@dataclass(frozen=True)
class Head:
    """An identity at rest: all that can be kept between its images. Maps are (TEXELS, TEXELS)."""

    traits: Traits
    layout: Layout
    surface: (
        np.ndarray
    )  # float32 (TEXELS, TEXELS, 4): RGB in 0..255, radius. Four floats are what OpenCV remaps fastest
    beard: np.ndarray  # float32 in [0, 1]: where it grows
    lips: np.ndarray  # float32 in [0, 1]
    eyes: EyePlan
    muscles: np.ndarray  # float32, see `muscles`
    skin: np.ndarray  # RGB in 0..255
    hair: np.ndarray  # RGB in 0..255


@dataclass(frozen=True)
class Moment:
    """A head with an expression; `landmarks` (5, 2) lie on the face plane, in the template's order."""

    surface: np.ndarray
    landmarks: np.ndarray


def muscles(at: Layout) -> np.ndarray:
    """What a full smile, raised brows and a frown do: float32 (3 expressions, 3 fields, h, w).

    The fields are where a place of the face came from minus where it is, in a and in b, and the swelling of the radius:
    flesh has to go somewhere, so that cheeks bulge in a smile and brows bunch in a frown.
    """
    rows, columns = (line.reshape(-1, _STEP).mean(axis=1) for line in (_DOWN, _ACROSS))
    fields = [[Bumps(rows, columns) for _ in range(3)] for _ in range(3)]
    (smile_a, smile_b, smile_r), (_, brow_b, _), (frown_a, frown_b, frown_r) = fields
    corner = at.mouth_wide + 0.5
    smile_a.add(corner, at.mouth_b, 7, 7, -3.2)
    smile_a.add(-corner, at.mouth_b, 7, 7, 3.2)
    smile_b.add(corner, at.mouth_b, 6.5, 6.5, 2.3, pair=True)
    smile_b.add(24, 16, 9, 8, 1.2, pair=True)
    smile_r.add(23, 12, 8, 7, 2.0, pair=True)
    smile_r.add(at.mouth_wide + 6, at.mouth_b - 6, 2.6, 7, -0.9, pair=True)
    brow_b.add(at.eye_a, at.brow_b, 12, 5.5, 2.6, pair=True)
    frown_a.add(7, at.brow_b, 5, 5, 1.0)
    frown_a.add(-7, at.brow_b, 5, 5, -1.0)
    frown_b.add(6, at.brow_b, 5, 5, -1.8, pair=True)
    frown_r.add(4, at.brow_b + 2, 3, 3, 0.8, pair=True)
    return np.stack([np.stack([field.sum() for field in row]) for row in fields])


def express(head: Head, c: Conditions) -> Moment:
    """Paint what shows only now, move the face, then paint the inside of the mouth and the eyes."""
    at = head.layout
    surface = head.surface * np.float32(1)  # a mere copy is ten times slower where the two arrays lie awkwardly
    _groom(surface, head, c)
    shift_a, shift_b, swelling = _fields(head, c)
    drop_jaw(shift_b, _FIRST, at, c)
    map_a = cv2.scaleAdd(shift_a, plane.DENSITY, _HERE_A)
    map_b = cv2.scaleAdd(shift_b, plane.DENSITY, _HERE_B)
    face = cv2.remap(surface, map_a, map_b, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    face[..., 3] += swelling
    surface[_FACE] = face
    paint_mouth(surface, at, c)
    paint_eyes(surface, head.eyes, c)
    return Moment(surface, _landmarks(at, c))


def _fields(head: Head, c: Conditions) -> list[np.ndarray]:
    """The three fields of `muscles` for this expression, at every texel of the face."""
    effort = np.array([c.smile, c.brow, c.frown], np.float32)
    coarse = (effort @ head.muscles.reshape(3, -1)).reshape(head.muscles.shape[1:])
    size = (len(_ACROSS), len(_DOWN))
    return [cv2.resize(field, size, interpolation=cv2.INTER_LINEAR) for field in coarse]


def _groom(surface: np.ndarray, head: Head, c: Conditions) -> None:
    """Stubble to a full beard, as the day has it; lipstick. In place."""
    amount = c.beard * (0.5 + 0.5 * head.traits["beard"])
    at = head.layout
    if amount > 0.12:
        rows, columns = plane.window(-62, at.nose_b + 4, 62, 84)
        mask = head.beard[rows, columns]
        hairs = texture.patch(texture.mottle(), c.salt, *mask.shape)
        overlay(
            surface[rows, columns], 0.8 * head.hair, mask * np.clip((0.85 + 0.3 * hairs) * min(1.0, 1.1 * amount), 0, 1)
        )
    if c.lipstick is not None:
        rows, columns = plane.window(-23, at.mouth_b - 9, 23, at.mouth_b + 10)
        overlay(surface[rows, columns], c.lipstick * (0.35 + head.skin.mean() / 330), 0.7 * head.lips[rows, columns])


def _landmarks(at: Layout, c: Conditions) -> np.ndarray:
    """Right eye, left eye, nose tip, mouth corners, as a detector would place them on this expression."""
    corner = at.mouth_wide + 1.6 * c.smile
    mouth = at.mouth_b + at.mouth_tilt * 0.75 - 2.0 * c.smile + 2.2 * c.jaw
    return np.array(
        [
            [-at.eye_a, at.eye_b],
            [at.eye_a, at.eye_b],
            [at.nose_a, at.nose_b],
            [-corner, mouth],
            [corner, mouth],
        ],
        np.float32,
    )
