"""What is behind the head: a blurred room, a neck, a collar. Colours are linear RGB."""

from __future__ import annotations

import cv2
import numpy as np

from vultus.data.synth.conditions import Conditions
from vultus.data.synth.plane import smoothstep
from vultus.data.synth.trace import SIZE, View

_BELOW = slice(72, SIZE)  # rows where a neck or a collar can show
_MIDDLE = (72 + SIZE) / 2
_PIXELS = np.arange(SIZE)


def backdrop(view: View, skin: np.ndarray, jaw: float, c: Conditions, rng: np.random.Generator) -> np.ndarray:
    """Paint the background, linear RGB float32 (3, SIZE, SIZE).

    `skin` is linear RGB, `jaw` the height of the chin on the face plane.
    """
    room = _room(c, rng)
    image = room[:, _BELOW]
    # The lean of the head within these rows is too little to see: all but the collar is lines across and down.
    x = np.real(view.unproject(_PIXELS + 1j * _MIDDLE)).astype(np.float32)
    y = np.imag(view.unproject(SIZE // 2 + 1j * _PIXELS[_BELOW, None])).astype(np.float32)
    x -= float(view.rotation[0, 2] * -16)
    toward_x, _, toward_z = c.key_direction.tolist()
    side = x * (1 / 29.0)
    nx = side.clip(-1, 1)
    nz = np.sqrt(1 - nx * nx)
    lambert = (nx * toward_x + nz * max(toward_z, 0.2)).clip(0, 1)
    light = (0.35 + 0.5 * smoothstep(y, 0.75 * jaw, jaw + 16)) * (0.8 * lambert + 0.25)
    neck = smoothstep(y, 12, 18) * ((1 - np.abs(side)) * 24).clip(0, 1)
    drop, sag, shade, *dye = rng.random(6).tolist()
    drop, sag, shade = 46 + 18 * drop, -0.0035 + 0.0085 * sag, 0.02 + 0.68 * shade
    collar = (y - drop) + (0.25 * np.abs(nx) - sag * x * x)
    collar = collar.clip(0, 1, out=collar)
    fold = 0.75 + 0.15 * np.sin((x + view.rotation[0, 2] * -16) * 0.35 + c.part) * nz
    tint = skin * (c.key_color + 0.5 * c.ambient)
    cloth = shade * (0.3 + 0.7 * np.array(dye)) * (0.4 + 0.5 * c.key_color)
    _blend(image, light * tint.astype(np.float32)[:, None, None], neck)
    _blend(image, fold * cloth.astype(np.float32)[:, None, None], collar)
    return room


def _blend(image: np.ndarray, over: np.ndarray, weight: np.ndarray) -> None:
    """Blend something over an image, in place."""
    step = over - image
    step *= weight
    image += step


def _room(c: Conditions, rng: np.random.Generator) -> np.ndarray:
    """Walls and blurred things, out of focus: painted at a quarter of the crop's size."""
    cells, small = int(rng.integers(2, 8)), SIZE // 4
    base, spread = rng.random(2).tolist()
    base, spread = (0.03 + 0.87 * base) ** 1.6, 0.05 + 0.45 * spread
    normals = rng.standard_normal(3 + 4 * cells * cells)
    tint, grey, colored = normals[:3], normals[3 : 3 + cells * cells], normals[3 + cells * cells :]
    walls = (base + base * spread * grey.reshape(cells, cells, 1)) * (1 + 0.16 * tint)
    walls += (0.2 * base * spread) * colored.reshape(cells, cells, 3)
    room = cv2.resize(walls.clip(0.005, 1.1).astype(np.float32), (small, small), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.6:
        x, y = rng.integers(-10, small, 2).tolist()
        wide, high = rng.integers(5, 24, 2).tolist()
        light, red, green, blue = rng.random(4).tolist()
        light = 0.01 + 0.79 * light
        color = (light * (0.5 + 0.5 * red), light * (0.5 + 0.5 * green), light * (0.5 + 0.5 * blue))
        cv2.rectangle(room, (x, y), (x + wide, y + high), color, -1)
    room *= float(0.4 + 0.6 * c.key_color[1])
    image = np.empty((3, SIZE, SIZE), np.float32)
    for plate, blurred in zip(image, cv2.split(room), strict=True):
        cv2.resize(blurred, (SIZE, SIZE), plate, interpolation=cv2.INTER_LINEAR)
    return image
