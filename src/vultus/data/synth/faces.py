"""Procedural faces: identities of a seeded, endless population, and photographs of them."""

from __future__ import annotations

import cmath
from collections import OrderedDict

import cv2
import numpy as np

from vultus.data.synth import backdrop, camera, light, plane, skin, trace, wear
from vultus.data.synth.conditions import Conditions, draw_conditions
from vultus.data.synth.expression import Head, Moment, express, muscles
from vultus.data.synth.eyes import plan_eyes
from vultus.data.synth.hair import dress
from vultus.data.synth.shape import head_radius, layout
from vultus.data.synth.space import AXES, draw_point, traits

_IDENTITY, _SAMPLE = 0, 1  # streams of the generator
_WHITE = 1 / 255**2
_KEPT = 64  # heads at rest: about 1 MB each


class ProceduralFaces:
    """Faces made up from numbers, for demos and tests.

    They are no people and resemble none; a figure measured on them says nothing about real faces. An identity is a
    point of a continuous space (`identity`), an image of it a draw of pose, expression, light, hair, things worn and
    camera. Crops come as if aligned by five landmarks to the ArcFace template, off by a pixel or so. The same seed,
    identity and sample give the same bytes, in any order and any process, given the same numpy and OpenCV.
    """

    DIMENSIONS: int = len(AXES)

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self._heads: OrderedDict[int, Head] = OrderedDict()

    def identity(self, index: int) -> np.ndarray:
        """The point of an identity (`index` from 0): float32 (DIMENSIONS,) in [-1, 1]."""
        return draw_point(np.random.default_rng((self.seed, _IDENTITY, index)))

    def render(self, identity: int, sample: int, *, size: int = trace.SIZE) -> np.ndarray:
        """Photograph an identity: uint8 RGB (size, size, 3). Rendered at 112 pixels; other sizes are resampled."""
        head = self._heads.pop(identity, None) or build_head(self.identity(identity))
        self._heads[identity] = head
        if len(self._heads) > _KEPT:
            self._heads.popitem(last=False)
        rng = np.random.default_rng((self.seed, _SAMPLE, identity, sample))
        crop = photograph(head, draw_conditions(rng), rng)
        if size == trace.SIZE:
            return crop
        flags = cv2.INTER_AREA if size < trace.SIZE else cv2.INTER_CUBIC
        return cv2.resize(crop, (size, size), interpolation=flags)


def build_head(point: np.ndarray) -> Head:
    """The head at rest of a point of the identity space."""
    t = traits(point)
    at = layout(t)
    radius = head_radius(t, at)
    return Head(
        traits=t,
        layout=at,
        surface=np.dstack([skin.paint_skin(t, at, radius), radius]),
        beard=skin.beard_mask(at),
        lips=skin.lip_mask(t, at),
        eyes=plan_eyes(t, at),
        muscles=muscles(at),
        skin=skin.skin_color(t),
        hair=skin.hair_color(t),
    )


def photograph(head: Head, c: Conditions, rng: np.random.Generator) -> np.ndarray:
    """One crop of a head under given conditions: uint8 RGB (112, 112, 3)."""
    moment = express(head, c)
    turn = trace.rotation(c.yaw, c.pitch, 0.0)
    points = _landmarks(moment, turn)
    similarity = trace.align(points, cmath.rect(c.scale, c.roll), complex(*c.shift))
    radius = cv2.extractChannel(moment.surface, 3)
    hair = dress(head, c, radius)
    view = trace.look(radius, turn, similarity)

    cv2.insertChannel(hair.strands, moment.surface, 3)  # the fourth channel is free now: one look-up sees all
    red, green, blue, strands = cv2.split(_see(moment.surface, view.map_a, view.map_b))
    half_a, half_b = (cv2.addWeighted(places, 0.5, places, 0.0, -0.25) for places in (view.map_a, view.map_b))
    covered = _see(hair.mask, half_a, half_b)
    tone = cv2.addWeighted(strands, 1.2, strands, 0.0, 0.35)
    albedo = np.empty((3, trace.SIZE, trace.SIZE), np.float32)
    for plate, seen, color in zip(albedo, (red, green, blue), hair.color.tolist(), strict=True):
        cv2.multiply(seen, seen, plate, _WHITE)  # the display's gamma, taken as 2
        hairs = cv2.addWeighted(tone, (color / 255) ** 2, plate, -1.0, 0.0)
        hairs *= covered
        plate += hairs
    gloss = cv2.multiply(strands, strands, None, 0.35 * hair.shine)
    gloss -= 0.07
    gloss *= covered
    gloss += 0.07

    lit = light.shade(view, albedo, gloss, c)
    image = backdrop.backdrop(view, (head.skin / 255) ** 2, head.layout.chin_b, c, rng)
    lit -= image
    lit *= view.alpha
    image += lit
    pixels = camera.develop(image, c)
    if c.glasses:
        pixels = wear.put_on_glasses(pixels, view, head.layout, c, rng)
    if c.cover:
        pixels = wear.cover(pixels, head.skin, c, rng)
    return camera.record(pixels, c)


def _see(field: np.ndarray, map_a: np.ndarray, map_b: np.ndarray) -> np.ndarray:
    return cv2.remap(field, map_a, map_b, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _landmarks(moment: Moment, turn: np.ndarray) -> np.ndarray:
    """Where the camera sees the landmarks: (5, 2) in its own frame."""
    places = moment.landmarks
    reach = np.array([moment.surface[plane.texel(b), plane.texel(a), 3] for a, b in places.tolist()])
    return (plane.direction(places[:, 0], places[:, 1]) * reach[:, None]) @ turn.T[:, :2]
