"""A small true recogniser: 16x16 grey pixels through a fixed random projection, calibrated on invented people."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vultus.evaluation import Calibration, calibrate
from vultus.evaluation.calibration import CropOrigin
from vultus.faces import LANDMARKS, Face, to_image
from vultus.zoo import Contract

from .databases import new_place, place, postgresql

__all__ = ["new_place", "place", "postgresql"]  # fixtures for everything below this folder

DIM = 32


def photo(identity: int, sample: int = 0, size: int = 112) -> np.ndarray:
    """An invented photograph that is all face: a pattern an identity, a little noise a sample."""
    base = np.random.default_rng(identity).uniform(40, 215, (16, 16))
    noise = np.random.default_rng([identity, sample]).normal(0, 12, (16, 16))
    grey = cv2.resize(base + noise, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


class PixelRecognizer:
    """`faces` takes a picture of height 112 to be a row of square faces: as many as fit, none in a blank one."""

    def __init__(self, seed: int = 0, calibration: Calibration | None = None, name: str = "pixels") -> None:
        self.name = name
        self.contract = Contract(f"pixels-{seed}", DIM, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
        self.calibration = calibration
        self.crops: CropOrigin | None = None
        self._projection = np.random.default_rng(seed).normal(size=(256, DIM)).astype(np.float32)

    def faces(self, image: str | Path | bytes | np.ndarray, select: str = "all") -> list[Face]:
        pixels = to_image(image)
        if pixels.std() < 1:
            return []
        side = pixels.shape[0]
        found = []
        for left in range(0, pixels.shape[1] - side + 1, side):
            box = np.array([left, 0, left + side, side], np.float32)
            crop = cv2.resize(pixels[:, left : left + side], (112, 112), interpolation=cv2.INTER_AREA)
            found.append(Face(box, LANDMARKS * side / 112 + [left, 0], 0.9, crop))
        return found if select == "all" else found[:1]

    def embed(self, faces) -> np.ndarray:
        rows = np.empty((len(faces), DIM), np.float32)
        for row, face in zip(rows, faces, strict=True):
            crop = face.crop if isinstance(face, Face) else face
            small = cv2.resize(crop[:, :, 0], (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32) - 127.5
            row[:] = small.reshape(-1) @ self._projection
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


@pytest.fixture(scope="session")
def recognizer() -> PixelRecognizer:
    made = PixelRecognizer()
    labels = np.repeat(np.arange(250), 4)
    crops = [photo(10_000 + int(label), sample % 4) for sample, label in enumerate(labels)]
    source = "invented patterns"
    made.calibration = calibrate(made.embed(crops), labels, source=source, contract_id=made.contract.id)
    return made


@pytest.fixture(scope="session")
def other_recognizer() -> PixelRecognizer:
    return PixelRecognizer(seed=1, name="other-pixels")


@pytest.fixture(scope="session")
def picture():
    return photo


@pytest.fixture
def unit_rows():
    def make(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
        rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return make
