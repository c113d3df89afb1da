"""What is behind the head: a blurred room, a neck, a collar. Colours are linear RGB."""

from __future__ import annotations

import cv2
import numpy as np

from vultus.data.synth.conditions import Conditions
from vultus.data.synth.plane import smoothstep
from vultus.data.synth.trace import SIZE, View

_BELOW = slice(72, SIZE)  # rows where a neck or a collar can show


def backdrop(view: View, skin: np.ndarray, jaw: float, c: Conditions, rng: np.random.Generator) -> np.ndarray:
    """Paint the background, linear RGB float32 (3, SIZE, SIZE).

    `skin` is linear RGB, `jaw` the height of the chin on the face plane.
    """
    room = _room(c, rng)
    image, x, y = room[:, _BELOW], view.x[_BELOW], view.y[_BELOW]
    key = c.key_direction
    center = float(view.rotation[0, 2] * -16)
    side = (x - center) * (1 / 29.0)
    nx = np.clip(side, -1, 1)
    nz = np.sqrt(1 - nx * nx)
    lambert = np.clip(nx * float(key[0]) + nz * max(float(key[2]), 0.2), 0, 1)
    down = y[:, SIZE // 2 : SIZE // 2 + 1]
    light = (0.35 + 0.5 * smoothstep(down, 0.75 * jaw, jaw + 16)) * (0.8 * lambert + 0.25)
    neck = np.clip((1 - np.abs(side)) * 24, 0, 1) * smoothstep(down, 12, 18)
    drop, sag = rng.uniform(46, 64), rng.uniform(-0.0035, 0.005)
    collar = np.clip(y - drop - sag * (x - center) ** 2 + 0.25 * np.abs(nx), 0, 1)
    fold = 0.75 + 0.15 * np.sin(x[:1] * 0.35 + c.part) * nz
    tint = skin * (c.key_color + 0.5 * c.ambient)
    cloth = rng.uniform(0.02, 0.7) * rng.uniform(0.3, 1, 3) * (0.4 + 0.5 * c.key_color)
    for channel in range(3):
        image[channel] += neck * (light * float(tint[channel]) - image[channel])
        image[channel] += collar * (fold * float(cloth[channel]) - image[channel])
    return room


def _room(c: Conditions, rng: np.random.Generator) -> np.ndarray:
    """Walls and blurred things, out of focus: painted at a quarter of the crop's size."""
    cells, small = int(rng.integers(2, 8)), SIZE // 4
    base, spread = rng.uniform(0.03, 0.9) ** 1.6, rng.uniform(0.05, 0.5)
    tint = 1 + 0.16 * rng.standard_normal(3)
    colors = base * (1 + spread * rng.standard_normal((cells, cells, 1))) * tint
    room = np.clip(colors + 0.2 * base * spread * rng.standard_normal((cells, cells, 3)), 0.005, 1.1)
    room = cv2.resize(room.astype(np.float32), (small, small), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.6:
        x, y = rng.integers(-10, small, 2).tolist()
        wide, high = rng.integers(5, 24, 2).tolist()
        red, green, blue = (rng.uniform(0.01, 0.8) * rng.uniform(0.5, 1, 3)).tolist()
        cv2.rectangle(room, (x, y), (x + wide, y + high), (red, green, blue), -1)
    room *= float(0.4 + 0.6 * c.key_color[1])
    return np.stack([cv2.resize(plate, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for plate in cv2.split(room)])
