from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vultus.faces import Face
from vultus.gallery import Candidate, Identified, draw_decisions
from vultus.gallery import draw as draw_module
from vultus.gallery.decision import Kind, decide, low_quality


@pytest.fixture
def identified(recognizer):
    threshold = dataclasses.replace(recognizer.calibration.threshold_at(0.01), score=0.5)

    def make(box, *people: tuple[str, float], reasons: tuple[str, ...] = ()) -> Identified:
        candidates = [Candidate(f"id-{at}", score, 1, name) for at, (name, score) in enumerate(people)]
        face = Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.9)
        return Identified(face, low_quality(reasons, threshold) if reasons else decide(candidates, threshold))

    return make


def test_each_decision_has_its_colour(identified):
    image = np.full((400, 600, 3), 128, np.uint8)
    for people, color in (
        ([("alice", 0.9)], (22, 128, 57)),
        ([], (96, 96, 96)),
        ([("alice", 0.9), ("bob", 0.8)], (245, 170, 20)),
    ):
        drawn = draw_decisions(image, [identified((200, 150, 300, 270), *people)])
        assert drawn.shape == image.shape
        assert drawn.dtype == np.uint8
        assert (drawn == color).all(axis=2).sum() > 500
        assert (drawn[155:265, 205:295] == 128).all(), "the face itself stays free"
    drawn = draw_decisions(image, [identified((200, 150, 300, 270), reasons=("sharpness", "pose"))])
    assert (drawn == (40, 90, 190)).all(axis=2).sum() > 500
    assert (image == 128).all(), "the photograph itself is unchanged"


@pytest.mark.parametrize("kind", Kind)
def test_text_is_readable_on_the_colour_of_every_decision(kind):
    dark, light = sorted(_luminance(color) for color in draw_module._COLORS[kind])
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def _luminance(color: tuple[int, int, int]) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_a_label_says_the_name_the_reason_or_neither(identified):
    def label(*people, **kinds):
        return draw_module._label(identified((0, 0, 9, 9), *people, **kinds).decision)

    assert label(("Alice", 0.9)) == "Alice 0.90"
    assert label(("Alice", 0.9), ("Alice", 0.8)) == "Alice [id-0] or Alice [id-1]"
    assert label(("Alice", 0.4)) == "unknown"
    reasons = ("too blurred: sharpness 0.2, at least 0.4; hold the camera still", "head turned to the side: yaw 51")
    assert label(reasons=reasons[:1]) == "low quality: too blurred"
    assert label(reasons=reasons) == "low quality: too blurred, head turned to the side"
    assert len(label(reasons=("x" * 1000,))) == 60


@pytest.mark.parametrize("size", [(40, 30), (100, 2000), (3000, 2000)])
@pytest.mark.parametrize("box", [(-50, -50, 20, 20), (10, 10, 29, 29), (1990, 90, 2100, 120)])
def test_any_size_and_any_box(identified, size, box):
    name = "Ярослав 李小龍 " * 13
    found = [identified(box, (name, 0.9)), identified(box, ("a", 0.9), (name, 0.8)), identified(box)]
    found.append(identified(box, reasons=(name,)))
    assert draw_decisions(np.zeros((*size, 3), np.uint8), found).shape == (*size, 3)


def test_labels_of_neighbours_stay_inside_and_apart():
    faces = [(100.0, 100.0, 160.0, 180.0), (165.0, 105.0, 225.0, 185.0), (230.0, 100.0, 290.0, 180.0)]
    labels = []
    for face in faces:
        labels.append(draw_module._place(face, (110, 20), (400, 300), faces, labels))
    for number, label in enumerate(labels):
        assert label[0] >= 0
        assert label[2] <= 400
        assert label[1] >= 0
        assert label[3] <= 300
        assert all(draw_module._overlap(label, other) == 0 for other in [*faces, *labels[:number]])
