"""k-fold accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation import kfold_accuracy
from vultus.evaluation.protocols.kfold import best_threshold


def test_each_fold_is_judged_by_a_threshold_from_the_others():
    # Fold 0 alone would choose 0.35 and be perfect; fold 1 alone 0.75. Crossed, each makes one mistake.
    scores = np.array([0.9, 0.4, 0.3, 0.1, 0.9, 0.8, 0.7, 0.1])
    same = np.array([True, True, False, False] * 2)
    folds = np.repeat([0, 1], 4)
    found = kfold_accuracy(scores, same, folds)
    assert found.thresholds.tolist() == pytest.approx([0.75, 0.35])
    assert found.accuracies.tolist() == [0.75, 0.75]
    assert (found.mean, found.std, found.pairs) == (0.75, 0.0, 8)
    assert found.interval[0] < 0.75 < found.interval[1]
    assert str(found) == "75.00% ± 0.00% over 2 folds, 8 pairs"


def test_a_pair_without_a_face_never_matches():
    scores = np.array([-np.inf, 0.9, 0.1, -np.inf] * 2)
    same = np.array([True, True, False, False] * 2)
    assert kfold_accuracy(scores, same, np.repeat([0, 1], 4)).mean == 0.75
    all_same = kfold_accuracy(scores, np.ones(8, bool), np.repeat([0, 1], 4))  # the lowest threshold is the best one
    assert all_same.mean == 0.5


def test_the_best_threshold_beats_every_other():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(0, 6, 12) / 4
        same = rng.random(12) < 0.5
        candidates = [*scores, -1, 9]
        best = max(np.mean((scores >= t) == same) for t in candidates)
        assert np.mean((scores >= best_threshold(scores, same)) == same) == best


def test_one_fold_or_a_nan_is_an_error():
    with pytest.raises(VultusError, match="two folds"):
        kfold_accuracy(np.ones(2), np.array([True, False]), np.zeros(2))
    with pytest.raises(VultusError, match="pair 1 is NaN"):
        kfold_accuracy(np.array([0, np.nan]), np.array([True, False]), np.arange(2))
