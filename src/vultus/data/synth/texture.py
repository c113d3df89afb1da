"""Fixed noise that every face draws from: skin mottling, spots, strands of hair, grain of the sensor."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from vultus.data.synth import plane


@cache
def mottle() -> np.ndarray:
    """Smooth noise, mean 0, deviation about 1, float32 (512, 512), periodic."""
    rng = np.random.default_rng(11)
    total = np.zeros((512, 512), np.float32)
    for sigma, weight in ((1.2, 0.5), (4.0, 0.7), (12.0, 1.0)):
        field = cv2.GaussianBlur(_periodic(rng), (0, 0), sigma)[64:-64, 64:-64]
        total += weight * (field / field.std()).astype(np.float32)
    return total / total.std()


@cache
def spots() -> np.ndarray:
    """Small separate blobs in [0, 1], float32 (512, 512): freckles."""
    rng = np.random.default_rng(12)
    field = np.zeros((512, 512), np.float32)
    where = rng.integers(0, 512, (1500, 2))
    field[where[:, 0], where[:, 1]] = rng.uniform(3, 11, 1500)
    return np.clip(cv2.GaussianBlur(field, (0, 0), 1.1), 0, 1)


@cache
def grain() -> np.ndarray:
    """White noise with a little correlation, as a sensor's after demosaicing: float32 (256, 256, 3), deviation 1."""
    field = np.random.default_rng(13).standard_normal((256, 256, 3)).astype(np.float32)
    field = 0.6 * field + 0.6 * cv2.GaussianBlur(field, (0, 0), 0.8)
    return field / field.std()


@cache
def strands(style: int) -> np.ndarray:
    """Strands that fall from a parting, float32 (TEXELS, TEXELS) in [0, 1]; style 0..7 is the parting and the curl."""
    rng = np.random.default_rng((14, style))
    part = (-30.0, 0.0, 26.0, -12.0)[style % 4]
    curl = (0.6, 6.0)[style // 4]
    # Hair runs along lines from the parting, a point above the crown of the unrolled head.
    angle = np.arctan2(plane.A - part, plane.B + 120.0)
    along = np.hypot(plane.A - part, plane.B + 120.0)
    wave = curl * np.sin(along * (0.11 + 0.05 * curl) + 7 * np.sin(angle * 9)) / 100
    noise = rng.standard_normal((64, 700)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=1.0, sigmaY=4.0)
    broad = cv2.GaussianBlur(noise, (0, 0), sigmaX=7.0, sigmaY=9.0)
    noise = noise / noise.std() + 1.1 * broad / broad.std()
    columns = ((angle + wave) * 150 + 350).astype(np.float32)
    field = cv2.remap(
        noise, columns, (along * 0.25).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.clip(0.5 + 0.2 * field, 0, 1).astype(np.float32)


def patch(field: np.ndarray, offset: int, rows: int, columns: int) -> np.ndarray:
    """A view of a noise field at a place that an integer picks."""
    down = (offset * 7919) % (field.shape[0] - rows + 1)
    across = (offset * 104729) % (field.shape[1] - columns + 1)
    return field[down : down + rows, across : across + columns]


def slide(field: np.ndarray, u: float, v: float, rows: int, columns: int) -> np.ndarray:
    """A view of a noise field that slides with u and v, each in [-1, 1]: nearby identities get nearby patterns."""
    down = round((field.shape[0] - rows) * 0.5 * (u + 1))
    across = round((field.shape[1] - columns) * 0.5 * (v + 1))
    return field[down : down + rows, across : across + columns]


def _periodic(rng: np.random.Generator) -> np.ndarray:
    return np.pad(rng.standard_normal((512, 512)).astype(np.float32), 64, mode="wrap")
