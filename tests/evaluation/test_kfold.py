"""Pair lists and k-fold accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation import kfold_accuracy, parse_lfw_pairs, parse_pairs
from vultus.evaluation.protocols.kfold import best_threshold

LIST = "2\t1\nann\t1\t4\nann\t1\tbob\t2\ncid\t3\t5\ncid\t3\tdot\t1\n"


def test_an_lfw_list(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(LIST)
    pairs = parse_lfw_pairs(path)
    assert pairs.folds.tolist() == [0, 0, 1, 1]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.names == (("ann", "ann"), ("ann", "bob"), ("cid", "cid"), ("cid", "dot"))
    assert pairs.numbers == ((1, 4), (1, 2), (3, 5), (3, 1))
    assert len(pairs) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LIST.replace("cid\t3\t5", "cid\t3"), "line 4: expected \"name a b\", found 'cid\\\\t3'"),
        (LIST.replace("bob\t2", "bob\tx"), 'line 3: expected "name1 a name2 b"'),
        (LIST.replace("ann\t1\t4", "ann\t1\tbob\t4"), "line 2"),
        (LIST.replace("2\t1\n", "", 1), "line 1: expected the header"),
        (LIST.replace("2\t1", "3\t1", 1), "promises 3 x 2 x 1 = 6 pairs, the file holds 4"),
        ("", "line 1"),
    ],
)
def test_a_malformed_list_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(VultusError, match=message) as error:
        parse_pairs(path)
    assert str(path) in str(error.value)


def test_a_missing_or_binary_list(tmp_path):
    with pytest.raises(VultusError, match="cannot read the pairs file"):
        parse_pairs(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(VultusError, match="not a text file"):
        parse_pairs(tmp_path / "b.txt")


def test_csv_lists(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('a.jpg,b.jpg,same\n"x, y.jpg",b.jpg,1\na.jpg,c.jpg,False\na.jpg,d.jpg,yes\nc.jpg,d.jpg,0\n')
    pairs = parse_pairs(path)
    assert pairs.paths[0] == ("x, y.jpg", "b.jpg")
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.folds.tolist() == [0, 0, 1, 1]  # each fold gets both kinds
    path.write_text("fold,a,b,same\n4,a.jpg,b.jpg,1\n9,a.jpg,c.jpg,0\n")
    assert parse_pairs(path).folds.tolist() == [0, 1]
    path.write_text("a.jpg,b.jpg,1\na.jpg,b.jpg,perhaps\n")
    with pytest.raises(VultusError, match="line 2"):
        parse_pairs(path)
    path.write_text("")
    with pytest.raises(VultusError, match="no pairs"):
        parse_pairs(path)


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
