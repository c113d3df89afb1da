"""How one photograph of an identity came about: everything that is not the identity, drawn from a generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Conditions:
    """One draw of the nuisances. Angles in radians; colours are RGB factors; the rest are in the units of their use."""

    # pose, and the error of the alignment
    yaw: float
    pitch: float
    roll: float
    shift: tuple[float, float]
    scale: float
    # expression
    smile: float
    jaw: float
    brow: float
    frown: float
    lids: float
    gaze: tuple[float, float]
    # hair and things worn
    dye: np.ndarray | None
    hair_style: int
    hair_side: float
    hair_volume: float
    fringe: float
    part: float
    beard: float
    lipstick: np.ndarray | None
    hat: np.ndarray | None
    glasses: int
    cover: int
    # light
    key_direction: np.ndarray
    key_color: np.ndarray
    fill_color: np.ndarray
    ambient: np.ndarray
    # camera
    exposure: float
    contrast: float
    balance: np.ndarray
    saturation: float
    blur: float
    shrink: float
    grain: float
    quality: int
    salt: int


def draw_conditions(rng: np.random.Generator) -> Conditions:
    """Draw the conditions of a photograph."""
    # One draw of many numbers costs as much as one of few; each name below takes the next of them.
    normals, uniforms = iter(rng.standard_normal(32).tolist()), iter(rng.random(64).tolist())

    def normal() -> float:
        return next(normals)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * next(uniforms)

    azimuth = _bound(0.65 * normal(), -1.3, 1.3)
    elevation = uniform(-0.1, 0.95)
    key = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    warm = 0.16 * normal()
    strength = uniform(0.5, 1.1)
    bright = rng.random(3)
    styles = rng.random(12)
    return Conditions(
        yaw=_bound(0.17 * normal(), -0.5, 0.5),
        pitch=_bound(0.09 * normal(), -0.25, 0.25),
        roll=0.025 * normal(),
        shift=(0.7 * normal(), 0.7 * normal()),
        scale=1 + 0.012 * normal(),
        smile=_bound(0.25 + 0.4 * normal(), -0.4, 1.1),
        jaw=float(max(0.0, uniform(-1.3, 0.9))),
        brow=_bound(0.5 * normal(), -1, 1.2),
        frown=float(max(0.0, 0.5 * normal())),
        lids=_bound(0.95 + 0.16 * normal(), 0.25, 1.25) if styles[0] > 0.03 else 0.05,
        gaze=(_bound(0.35 * normal(), -1, 1), _bound(0.2 * normal(), -0.6, 0.6)),
        dye=_dye(rng) if styles[1] < 0.35 else None,
        hair_style=int(rng.integers(8)),
        hair_side=float(uniform(-6, 14) if styles[2] < 0.55 else uniform(48, 120)),
        hair_volume=uniform(0.35, 1.5),
        fringe=float(uniform(3, 18) if styles[3] < 0.25 else uniform(-2, 2)),
        part=uniform(-26, 26),
        beard=float(uniform(-0.8, 1.0)),
        lipstick=np.array([uniform(120, 215), uniform(25, 95), uniform(40, 115)]) if styles[4] < 0.15 else None,
        hat=uniform(20, 225) * rng.uniform(0.55, 1, 3) if styles[5] < 0.13 else None,
        glasses=0 if styles[6] > 0.15 else (2 if styles[6] < 0.025 else 1),
        cover=0 if styles[7] > 0.09 else 1 + int(rng.integers(4)),
        key_direction=key,
        key_color=strength * np.array([1 + warm, 1.0, 1 - warm]),
        fill_color=uniform(0.0, 0.4) * (1 + 0.35 * (bright - 0.5)),
        ambient=uniform(0.3, 0.65) * (1 + 0.15 * rng.standard_normal(3).clip(-1.5, 1.5)),
        exposure=float(np.exp(0.2 * normal())),
        contrast=float(np.exp(0.12 * normal())),
        balance=np.exp(np.array([0.11, 0.03, 0.13]) * rng.standard_normal(3)),
        saturation=0.0 if styles[8] < 0.06 else uniform(0.5, 1.15),
        blur=uniform(0.3, 0.9) if styles[9] < 0.4 else 0.0,
        shrink=uniform(0.5, 0.85) if styles[10] < 0.15 else 1.0,
        grain=uniform(0.5, 6.0),
        quality=int(rng.integers(45, 96)) if styles[11] < 0.5 else 0,
        salt=int(rng.integers(1 << 30)),
    )


def _bound(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _dye(rng: np.random.Generator) -> np.ndarray:
    """Any natural colour, or now and then an unnatural one."""
    if rng.random() < 0.2:
        return rng.uniform(40, 230) * rng.uniform(0.45, 1.0, 3)
    light = rng.uniform(0.08, 0.9)
    return 235 * np.array([light, light ** rng.uniform(1.15, 1.7), light ** rng.uniform(1.5, 2.6)])
