"""Eyes, painted on the face plane: both at once, the left one as the mirror image of the right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.data.synth import plane
from vultus.data.synth.conditions import Conditions
from vultus.data.synth.plane import AXIS, smoothstep
from vultus.data.synth.shape import Layout
from vultus.data.synth.space import Traits, between

_IRIS = np.array([[58, 36, 22], [104, 70, 36], [116, 110, 62], [92, 128, 110], [98, 132, 168]], np.float32)
_WHITE = np.array([192, 185, 180], np.float32)
_GLINT = 235.0
_RINGS = 24  # of an eyeball's colours, in a unit of the plane
_SIDES = np.array([-1, 1], np.float32)[:, None, None]  # right eye, left eye
# Lashes of the upper and the lower lid, and the crease: -1/2 over the square of their widths.
_LINE_WIDTHS = np.array([-0.5 / 0.75**2, -0.5 / 0.6**2, -0.5 / 0.75**2], np.float32)[:, None, None]


@dataclass(frozen=True)
class EyePlan:
    """An identity's eyes at rest. x runs outwards from the middle of either eye, y down; maps (h, w), lines (1, w)."""

    rows: slice
    right: slice
    left: slice
    x: np.ndarray
    y: np.ndarray
    lifted: np.ndarray  # y in the frame of the tilted eye
    upper: np.ndarray  # lines of the lids
    lower: np.ndarray
    crease: np.ndarray
    crease_strength: np.ndarray
    edge: np.ndarray  # fades at the corners
    lash_edge: np.ndarray
    roundness: np.ndarray
    rings: np.ndarray  # (rings, 3): the eyeball's colours, outwards from the pupil


def plan_eyes(t: Traits, at: Layout) -> EyePlan:
    """What of the eyes an identity fixes."""
    reach = at.eye_wide + 3.0
    rows, right = plane.window(-at.eye_a - reach, at.eye_b - 11, -at.eye_a + reach, at.eye_b + 7)
    left = slice(plane.TEXELS - right.stop, plane.TEXELS - right.start)
    x = (-AXIS[right] - at.eye_a)[None, :]
    y = (AXIS[rows] - at.eye_b)[:, None]
    along = np.clip(np.abs(x / at.eye_wide), 0, 1)
    peak = np.clip(np.abs(x / at.eye_wide - 0.25 * t["eye_peak"] * (1 - along**2)), 0, 1)
    arch = np.sqrt(1 - peak**2)
    fold = between(t["eye_fold"], 0.4, 3.8)
    return EyePlan(
        rows=rows,
        right=right,
        left=left,
        x=x,
        y=y,
        lifted=y + x * at.eye_tilt,
        upper=-at.eye_upper * arch,
        lower=at.eye_lower * (1 - along**2),
        crease=-at.eye_upper * arch - fold + 0.5 * (1 - arch),
        crease_strength=0.48 * min(max((fold - 0.6) / 1.5, 0.0), 1.0) * smoothstep(arch, 0.15, 0.6),
        edge=np.clip(1.2 * (at.eye_wide + 0.2 - np.abs(x)), 0, 1),
        lash_edge=np.clip(at.eye_wide + 0.8 - np.abs(x), 0, 1),
        roundness=1 - 0.12 * along**2,
        rings=_rings(t),
    )


def paint_eyes(surface: np.ndarray, plan: EyePlan, c: Conditions) -> None:
    """Paint both eyes, in place, on a `Head.surface`: white, iris, pupil, lashes, crease."""
    lower = plan.lower * (1 - 0.2 * max(0.0, c.smile))
    lids = np.stack([plan.lifted - (lower + (plan.upper - lower) * c.lids), lower - plan.lifted])  # distances inwards
    within = smoothstep(lids, -0.45, 0.45)
    inside = within[0] * within[1] * plan.edge
    fold = plan.lifted - plan.crease + (1.2 - c.lids) * 0.8
    under_lid, over_lid, crease = np.exp(_LINE_WIDTHS * np.square(np.stack([lids[0] + 0.2, lids[1], fold])))
    bright = 1 - np.minimum((0.85 * under_lid + 0.3 * over_lid) * plan.lash_edge, 0.92)
    skin = (1 - plan.crease_strength * crease) * (1 - inside) * bright
    ball = inside * bright * (1 - 0.5 * np.exp(np.maximum(lids[0], 0) * (-1 / 1.5)))

    x = plan.x + (0.3 - 2.6 * c.gaze[0] * _SIDES)  # both eyes look to the same side of the image
    y = plan.y - (1.6 * c.gaze[1] - 0.35)
    away = np.sqrt(x * x + y * y)
    places = np.minimum(away * _RINGS, len(plan.rings) - 1).astype(np.intp)
    x -= (1.1 * float(c.key_direction[0]) + 0.2) * _SIDES
    glint = 0.95 - 0.95 * smoothstep(x * x + (y + 0.9) ** 2, 0.25, 1.6)
    painted = plan.rings.take(places, axis=0)
    painted *= (ball * plan.roundness * (1 - glint))[..., None]
    painted += (ball * glint * _GLINT)[..., None]
    right, left = surface[plan.rows, plan.right, :3], surface[plan.rows, plan.left, :3]
    right *= skin[..., None]
    right += painted[0]
    left *= skin[:, ::-1, None]
    left += painted[1, :, ::-1]


def _rings(t: Traits) -> np.ndarray:
    """The colours of an eyeball from the middle of its pupil outwards: float32 (rings, 3)."""
    size = between(t["iris_size"], 3.0, 4.1)
    hue = between(t["iris_hue"], 0, 4)
    color = np.array([np.interp(hue, range(5), _IRIS[:, channel]) for channel in range(3)])
    away = (np.arange(12 * _RINGS) + 0.5) / _RINGS
    iris = 1 - smoothstep(away, size - 0.5, size + 0.4)
    pupil = 1 - smoothstep(away, 0.36 * size, 0.36 * size + 0.7)
    tint = (1.25 - 0.85 * smoothstep(away, 0.55 * size, size)) * (1 - 0.95 * pupil)
    color *= between(t["iris_light"], 0.6, 1.25)
    return (np.outer(iris * tint, color) + np.outer(1 - iris, _WHITE)).astype(np.float32)
