"""Things in front of a face: glasses that follow the head, and hands, scarves, microphones that do not care."""

from __future__ import annotations

import cv2
import numpy as np

from vultus.data.synth.conditions import Conditions
from vultus.data.synth.shape import Layout
from vultus.data.synth.trace import View

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def put_on_glasses(image: np.ndarray, view: View, at: Layout, c: Conditions, rng: np.random.Generator) -> np.ndarray:
    """Draw glasses on a display-referred image, float32 (SIZE, SIZE, 3) in 0..255; returns it."""
    wide, tall = rng.uniform(9.5, 13.5), rng.uniform(6.0, 10.5)
    square = rng.uniform(2.0, 4.5)
    color = tuple(float(v) for v in rng.uniform(8, 150) * rng.uniform(0.5, 1, 3))
    thick = int(rng.integers(1, 4))
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    ring_x = wide * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / square)
    ring_y = tall * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / square)
    apart, down = max(at.eye_a, wide + 3.0), at.eye_b + 1.0 + rng.uniform(-1, 1.5)
    rims = []
    for side in (-1, 1):
        x = side * apart + ring_x
        points = np.stack([x, down + ring_y, 57.0 - 0.006 * x * x], axis=1)
        rims.append(_fixed(view.project(points)))
    lens = image.copy()
    tint = color if c.glasses == 1 else tuple(float(v) for v in rng.uniform(5, 45, 3))
    cv2.fillPoly(lens, rims, tint if c.glasses == 2 else (235.0, 240.0, 245.0), cv2.LINE_AA, _SHIFT)
    weight = 0.93 if c.glasses == 2 else rng.uniform(0.0, 0.18)
    image = cv2.addWeighted(lens, weight, image, 1 - weight, 0)
    cv2.polylines(image, rims, True, color, thick, cv2.LINE_AA, _SHIFT)
    bridge = np.array([[-apart + wide, down - 1, 56.5], [0, down - 2.5, 58], [apart - wide, down - 1, 56.5]])
    cv2.polylines(image, [_fixed(view.project(bridge))], False, color, thick, cv2.LINE_AA, _SHIFT)
    for side in (-1, 1):
        if side * view.rotation[0, 2] < 0.12:  # the temple on the far side is hidden
            arm = np.array([[side * (apart + wide), down - 2, 52], [side * 46, down - 3, 34], [side * 49, down - 2, 0]])
            cv2.polylines(image, [_fixed(view.project(arm))], False, color, max(1, thick - 1), cv2.LINE_AA, _SHIFT)
    return image


def cover(image: np.ndarray, skin: np.ndarray, c: Conditions, rng: np.random.Generator) -> np.ndarray:
    """Hide a part of a display-referred image; `skin` RGB in 0..255; returns it."""
    top = image.copy()
    if c.cover == 1:  # a hand: fingers from below or from the side
        side = rng.choice([-1, 1])
        base = np.array([56 + side * rng.uniform(18, 50), 118.0])
        toward = np.array([-side * rng.uniform(0.0, 0.5), -1.0])
        color = skin * rng.uniform(0.65, 1.05)
        for finger in range(4):
            start = base + np.array([side * 9.0 * (finger - 1.5), 4 * abs(finger - 1.5)])
            end = start + toward * rng.uniform(26, 44)
            for width, light in ((11, 0.72), (9, 0.92), (5, 1.05)):
                cv2.line(top, _point(start), _point(end), _color(color * light), width, cv2.LINE_AA, _SHIFT)
        cv2.circle(top, _point(base + [0, 14]), 22 << _SHIFT, _color(color * 0.9), -1, cv2.LINE_AA, _SHIFT)
    elif c.cover == 2:  # a scarf or a mask up to the mouth or the nose
        edge = rng.uniform(78, 104)
        color = rng.uniform(25, 225) * rng.uniform(0.6, 1, 3)
        x = np.linspace(-4, 116, 13)
        rim = np.stack([x, edge + rng.uniform(-7, 7) * np.cos(x / 36) + rng.uniform(-1, 1, 13)], axis=1)
        for drop in range(4):
            points = np.concatenate([rim + [0, 8 * drop], [[116, 130], [-4, 130]]])
            cv2.fillPoly(
                top, [_fixed(points)], _color(color * (1 - 0.1 * (drop % 2) - 0.05 * drop)), cv2.LINE_AA, _SHIFT
            )
    elif c.cover == 3:  # a microphone, or a phone held up
        grey = rng.uniform(20, 90) * rng.uniform(0.85, 1.0, 3)
        head = np.array([rng.uniform(20, 92), rng.uniform(84, 106)])
        foot = head + [rng.uniform(-25, 25), 60]
        if rng.random() < 0.6:
            cv2.line(top, _point(head), _point(foot), _color(grey * 0.6), 7, cv2.LINE_AA, _SHIFT)
            for size, light, lift in ((11, 0.6, 0.0), (9, 0.9, 1.0), (6, 1.25, 2.5), (3, 1.7, 3.5)):
                place = _point(head - [0.6 * lift, lift])
                cv2.circle(top, place, size << _SHIFT, _color(grey * light), -1, cv2.LINE_AA, _SHIFT)
        else:
            box = cv2.boxPoints(((head[0], head[1]), (24, 46), rng.uniform(-25, 25)))
            cv2.fillPoly(top, [_fixed(box)], _color(grey * 0.5), cv2.LINE_AA, _SHIFT)
            cv2.polylines(top, [_fixed(box)], True, _color(grey * 1.5), 1, cv2.LINE_AA, _SHIFT)
    else:  # a lock of hair across the brow
        color = rng.uniform(10, 170) * np.array([1.0, 0.8, 0.62])
        start = np.array([rng.uniform(5, 107), -4.0])
        sweep = rng.uniform(-26, 26)
        for _ in range(int(rng.integers(14, 30))):
            begin = start + [rng.normal() * 6, 0]
            middle = begin + [0.3 * sweep + 2 * rng.normal(), rng.uniform(24, 34)]
            end = middle + [0.8 * sweep + 2 * rng.normal(), rng.uniform(8, 26)]
            light = _color(color * rng.uniform(0.7, 1.2))
            cv2.polylines(top, [_fixed(_curve(begin, middle, end))], False, light, 2, cv2.LINE_AA, _SHIFT)
        return cv2.addWeighted(top, 0.8, image, 0.2, 0)
    return top


def _curve(start: np.ndarray, middle: np.ndarray, end: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, 9)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)


def _point(place: np.ndarray) -> tuple[int, int]:
    return round(float(place[0]) * (1 << _SHIFT)), round(float(place[1]) * (1 << _SHIFT))


def _color(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = np.clip(values, 0, 255).tolist()
    return red, green, blue
