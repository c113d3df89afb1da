from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vultus.faces import Face
from vultus.gallery import Candidate, Identified, draw_decisions
from vultus.gallery import draw as draw_module
from vultus.gallery.decision import decide


@pytest.fixture
def identified(recognizer):
    threshold = dataclasses.replace(recognizer.calibration.threshold_at(0.01), score=0.5)

    def make(box, *people: tuple[str, float]) -> Identified:
        candidates = [Candidate(name, score, 1) for name, score in people]
        face = Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.9)
        return Identified(face, decide(candidates, threshold))

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
    assert (image == 128).all(), "the photograph itself is unchanged"


@pytest.mark.parametrize("size", [(40, 30), (100, 2000), (3000, 2000)])
@pytest.mark.parametrize("box", [(-50, -50, 20, 20), (10, 10, 29, 29), (1990, 90, 2100, 120)])
def test_any_size_and_any_box(identified, size, box):
    name = "Ярослав 李小龍 " * 13
    found = [identified(box, (name, 0.9)), identified(box, ("a", 0.9), (name, 0.8)), identified(box)]
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
