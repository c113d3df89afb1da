"""Procedural faces are reproducible, vary as photographs do, and carry identity in shape rather than in colour."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from vultus.data.synth import ProceduralFaces, contact_sheet
from vultus.data.synth import faces as population
from vultus.data.synth.conditions import draw_conditions
from vultus.data.synth.faces import build_head, photograph
from vultus.data.synth.space import AXES
from vultus.data.synth.trace import align, rotation

_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def _portrait(point: np.ndarray) -> np.ndarray:
    """An identity under fixed, plain conditions."""
    rng = np.random.default_rng(5)
    plain = dataclasses.replace(draw_conditions(rng), hat=None, glasses=0, cover=0, quality=0, grain=0.0, blur=0.0)
    return photograph(build_head(point), plain, np.random.default_rng(6)).astype(np.float32)


def test_a_crop_is_112_pixels_of_rgb_by_default():
    faces = ProceduralFaces(seed=1)
    crop = faces.render(0, 0)
    assert crop.shape == (112, 112, 3)
    assert crop.dtype == np.uint8
    assert faces.render(0, 0, size=64).shape == (64, 64, 3)


def test_bytes_depend_on_seed_identity_and_sample_alone(monkeypatch):
    monkeypatch.setattr(population, "_KEPT", 2)
    asked = [(0, 0), (0, 1), (70, 3), (2, 0)]
    first = ProceduralFaces(seed=7)
    forward = {key: first.render(*key).tobytes() for key in asked}
    for identity in range(3, 8):  # more heads than are kept
        first.render(identity, 0)
    second = ProceduralFaces(seed=7)
    assert {key: first.render(*key).tobytes() for key in reversed(asked)} == forward
    assert {key: second.render(*key).tobytes() for key in reversed(asked)} == forward
    assert len(set(forward.values())) == len(asked)
    assert ProceduralFaces(seed=8).render(0, 0).tobytes() != forward[0, 0]


def test_another_process_renders_the_same_bytes():
    code = (
        "import hashlib; from vultus.data.synth import ProceduralFaces;"
        "print(hashlib.sha256(ProceduralFaces(seed=3).render(11, 4).tobytes()).hexdigest())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "123"}
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert there.stdout.strip() == hashlib.sha256(ProceduralFaces(seed=3).render(11, 4).tobytes()).hexdigest()


def test_the_identity_space_is_large_and_does_not_depend_on_who_was_asked_before():
    faces = ProceduralFaces(seed=2)
    points = np.stack([faces.identity(index) for index in range(200)])
    assert ProceduralFaces.DIMENSIONS >= 40
    assert points.shape == (200, ProceduralFaces.DIMENSIONS)
    assert points.dtype == np.float32
    assert np.abs(points).max() <= 1
    assert (points.std(axis=0) > 0.4).all()
    np.testing.assert_array_equal(ProceduralFaces(seed=2).identity(150), points[150])


def test_nearby_points_look_alike():
    faces = ProceduralFaces(seed=0)
    start, end = faces.identity(0), faces.identity(1)
    here = _portrait(start)
    distances = [np.abs(_portrait(start + step * (end - start)) - here).mean() for step in (0.01, 0.1, 1.0)]
    assert distances[0] < 1.5
    assert distances[0] < distances[1] < distances[2]


def test_every_axis_is_seen():
    # Most axes at the middle; what shows only from some size on (marks, freckles, copper, age) is turned up.
    shown = ("mole1_size", "mole2_size", "scar_size", "eye_fold")
    center = np.array([0.8 if axis in shown else 0.1 for axis in AXES], np.float32)
    unseen = []
    for axis, name in enumerate(AXES):
        low, high = center.copy(), center.copy()
        low[axis], high[axis] = -0.9, 0.9
        if np.abs(_portrait(low) - _portrait(high)).max() < 5:
            unseen.append(name)
    assert unseen == []


def test_samples_of_an_identity_differ():
    faces = ProceduralFaces(seed=0)
    crops = [faces.render(4, sample).astype(np.float32) for sample in range(4)]
    differences = [np.abs(crops[i] - crops[j]).mean() for i in range(4) for j in range(i)]
    assert min(differences) > 6


def test_alignment_brings_landmarks_to_the_template():
    places = (_TEMPLATE - 50.0) * 0.4 @ rotation(0, 0, 0.3)[:2, :2].T
    scale, offset = align(places, 1.0 + 0j, 0j)
    landed = (places[:, 0] + 1j * places[:, 1]) * scale + offset
    np.testing.assert_allclose(np.stack([landed.real, landed.imag], axis=1), _TEMPLATE, atol=1e-3)


def test_the_mean_color_of_a_crop_does_not_tell_who_it_is():
    identities, samples = 60, 5
    faces = ProceduralFaces(seed=0)
    colors = np.stack([faces.render(i, s).mean(axis=(0, 1)) for i in range(identities) for s in range(samples)])
    labels = np.repeat(np.arange(identities), samples)
    rows, columns = np.triu_indices(len(labels), 1)
    scores = -np.linalg.norm(colors[rows] - colors[columns], axis=1)
    mated = labels[rows] == labels[columns]
    threshold = np.quantile(scores[~mated], 0.99)
    assert (scores[mated] > threshold).mean() < 0.3


def test_a_contact_sheet_holds_every_crop_where_it_belongs():
    crops = [np.full((10, 12, 3), value, np.uint8) for value in (10, 20, 30, 40, 50)]
    sheet = contact_sheet(crops, 2)
    assert sheet.shape == (3 * 12 + 2, 2 * 14 + 2, 3)
    assert (sheet[14:24, 16:28] == 40).all()
    assert (sheet[26:36, 16:28] == sheet[0, 0]).all()
    assert contact_sheet([], 3).ndim == 3
    with pytest.raises(ValueError, match="column"):
        contact_sheet(crops, 0)
    with pytest.raises(ValueError, match="one size"):
        contact_sheet([crops[0], np.zeros((5, 5, 3), np.uint8)], 2)
