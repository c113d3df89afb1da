"""Pairs split by the quality of their images."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation import parse_pairs
from vultus.evaluation.protocols.pair_quality import by_quality, read_quality, worse_quality


def test_xqlfw_quality_of_the_worse_image(tmp_path):
    (tmp_path / "xqlfw_pairs.txt").write_text("2\t1\nann\t1\t2\nann\t1\tbob\t1\nbob\t1\t2\nbob\t2\tann\t2\n")
    (tmp_path / "xqlfw_scores.txt").write_text("ID\tNum\tScore\nann\t1\t0.9\nann\t2\t0.3\nbob\t1\t0.5\nbob\t2\t0.8\n")
    pairs, quality = parse_pairs(tmp_path / "xqlfw_pairs.txt"), read_quality(tmp_path / "xqlfw_scores.txt")
    assert worse_quality(pairs, quality).tolist() == [0.3, 0.5, 0.5, 0.3]
    del quality["bob", 2]
    with pytest.raises(VultusError, match=r"lacks 1 images of the pairs, such as \('bob', 2\)"):
        worse_quality(pairs, quality)


def test_a_csv_of_paths(tmp_path):
    (tmp_path / "pairs.csv").write_text("0,a.jpg,b.jpg,1\n1,a.jpg,c.jpg,0\n")
    (tmp_path / "quality.csv").write_text("path,quality\na.jpg,3\nb.jpg,-1\nc.jpg,5\n")
    pairs = parse_pairs(tmp_path / "pairs.csv")
    assert worse_quality(pairs, read_quality(tmp_path / "quality.csv")).tolist() == [-1, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID Num Score\nann 1\n", 'line 2: expected "name number score"'),
        ("ann 1 good\n", 'line 1: expected "name number score"'),
        ("ann 1 nan\n", "line 1: the quality nan"),
        ("ann 1 0.5\nann 1 0.6\n", "line 2: another quality"),
        ("ID Num Score\n", "no image in it"),
    ],
)
def test_a_malformed_quality_file_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "scores.txt").write_text(text)
    with pytest.raises(VultusError, match=message):
        read_quality(tmp_path / "scores.txt")


def test_figures_of_each_bin():
    """Six pairs, the worse images' qualities 1, 1, 1 | 4, 5, 6; one threshold, 0.5.

    Bad bin: mated 0.9 and a missing face (-inf): FNMR 1/2. Non-mated 0.6: FMR 1/1. The folds decided 1 of 3 wrongly.
    Good bin: mated 0.8: FNMR 0/1. Non-mated 0.1 and one without a face, which counts nowhere: FMR 0/1.
    """
    quality = np.array([1, 4, 1, 5, 1, 6.0])
    scores = np.array([0.9, 0.8, -np.inf, 0.1, 0.6, -np.inf])
    same = np.array([True, True, True, False, False, False])
    right = np.array([True, True, False, True, True, True])
    identities = np.array([[0, 0], [1, 1], [2, 2], [0, 1], [0, 2], [1, 2]])
    for known in (None, identities):
        bad, good = by_quality(quality, scores, same, right, 0.5, known, bins=2)
        assert (bad.low, bad.high, good.low, good.high) == (1, 1, 4, 6)
        assert [(r.errors, r.trials) for r in (bad.error, bad.fnmr, bad.fmr)] == [(1, 3), (1, 2), (1, 1)]
        assert [(r.errors, r.trials) for r in (good.error, good.fnmr, good.fmr)] == [(0, 3), (0, 1), (0, 1)]
    assert [b.high for b in by_quality(quality, scores, same, right, 0.5, bins=[1, 5])] == [1, 5, 6]
    assert len(by_quality(np.ones(6), scores, same, right, 0.5, bins=4)) == 1  # equal qualities stay together
