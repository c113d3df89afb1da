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
_GLINT = np.array([235, 235, 235], np.float32)


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
    iris_size: float
    colors: np.ndarray  # (3, 3): iris, white, glint


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
    tint = np.array([np.interp(between(t["iris_hue"], 0, 4), range(5), _IRIS[:, channel]) for channel in range(3)])
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
        iris_size=between(t["iris_size"], 3.0, 4.1),
        colors=np.stack([tint * between(t["iris_light"], 0.6, 1.25), _WHITE, _GLINT]).astype(np.float32),
    )


def paint_eyes(surface: np.ndarray, plan: EyePlan, c: Conditions) -> None:
    """Paint both eyes, in place, on a `Head.surface`: white, iris, pupil, lashes, crease."""
    lower = plan.lower * (1 - 0.2 * max(0.0, c.smile))
    under_lid = plan.lifted - (lower + (plan.upper - lower) * c.lids)
    over_lid = lower - plan.lifted
    inside = smoothstep(under_lid, -0.45, 0.45) * smoothstep(over_lid, -0.45, 0.45) * plan.edge
    lash = 0.85 * _bell(under_lid + 0.2, 0.75) + 0.3 * _bell(over_lid, 0.6)
    bright = 1 - np.minimum(lash * plan.lash_edge, 0.92)
    crease = plan.crease_strength * _bell(plan.lifted - plan.crease + (1.2 - c.lids) * 0.8, 0.75)
    skin = (1 - crease) * (1 - inside) * bright
    ball = inside * bright * (1 - 0.5 * np.exp(np.maximum(under_lid, 0) * (-1 / 1.5)))

    size = plan.iris_size
    side = np.array([-1, 1], np.float32)[:, None, None]  # both eyes look to the same side of the image
    x = plan.x - (side * (2.6 * c.gaze[0]) - 0.3)
    y = plan.y - (1.6 * c.gaze[1] - 0.35)
    away = np.sqrt(x * x + y * y)
    iris = 1 - smoothstep(away, size - 0.5, size + 0.4)
    pupil = 1 - smoothstep(away, 0.36 * size, 0.36 * size + 0.7)
    tint = (1.25 - 0.85 * smoothstep(away, 0.55 * size, size)) * (1 - 0.95 * pupil)
    x = x - side * (1.1 * float(c.key_direction[0]) + 0.2)
    glint = 0.95 * (1 - smoothstep(x * x + (y + 0.9) ** 2, 0.25, 1.6))
    parts = np.stack([iris * tint, (1 - iris) * plan.roundness, np.zeros_like(iris)], axis=-1)
    parts *= (ball * (1 - glint))[..., None]
    parts[..., 2] = ball * glint
    painted = (parts.reshape(-1, 3) @ plan.colors).reshape(parts.shape)
    right, left = surface[plan.rows, plan.right, :3], surface[plan.rows, plan.left, :3]
    right[:] = right * skin[..., None] + painted[0]
    left[:] = (left[:, ::-1] * skin[..., None] + painted[1])[:, ::-1]


def _bell(values: np.ndarray, width: float) -> np.ndarray:
    return np.exp(values * values * (-0.5 / width**2))
