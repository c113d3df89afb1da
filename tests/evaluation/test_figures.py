"""Figures are PNGs, whatever the numbers."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from vultus.evaluation import figures, verify_all_pairs, verify_scores


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 20, 200)
    rows = rng.normal(size=(20, 16))[labels] + rng.normal(size=(200, 16))
    return verify_all_pairs((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels)


def size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert png[-8:-4] == b"IEND"
    return struct.unpack(">II", png[16:24])


def test_each_figure_is_a_png(found):
    for png in (
        figures.score_histogram(found, title="Scores"),
        figures.score_histogram(found, fars=(0.01,), log=True),
        figures.roc(found),
        figures.det({"one": found, "two": found}),
        figures.bars(["a", "b", "withheld"], [0.9, 0.2, None], [(0.8, 0.95), None, None], goal=0.9),
        figures.training_curves({"step": [1, 2, 3], "loss": [3, 2, 1], "val": [np.nan, 0.1, 0.4]}),
    ):
        assert size(png)[0] > 1000
    assert "matplotlib.pyplot" not in sys.modules  # no global state: figures may be drawn in a server's threads


def test_a_perfect_and_a_tiny_result_can_be_drawn(monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    perfect = verify_scores(np.full(3, 0.9), np.linspace(-0.2, 0.1, 50))
    constant = verify_scores(np.zeros(1), np.zeros(1))
    for found in (perfect, constant):
        for draw in (figures.score_histogram, figures.roc, figures.det):
            size(draw(found))
        size(figures.score_histogram(found, log=True))
