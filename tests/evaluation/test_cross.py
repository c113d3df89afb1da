"""Comparisons between two recognisers' embeddings, against a loop in the plainest Python."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation import verify_all_pairs, verify_cross


def unit(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    rows = rng.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_every_ordered_pair_of_different_images_counts_once() -> None:
    rng = np.random.default_rng(0)
    old, new, labels = unit(rng, (37, 8)), unit(rng, (37, 8)), rng.integers(0, 6, 37)
    found = verify_cross(old, new, labels, (0.1, 0.05), block=10)
    mated = [old[i] @ new[j] for i in range(37) for j in range(37) if i != j and labels[i] == labels[j]]
    others = [old[i] @ new[j] for i in range(37) for j in range(37) if labels[i] != labels[j]]
    assert (found.mated, found.non_mated) == (len(mated), len(others))
    for point in found.points:
        assert point.threshold is not None and point.far_measured is not None
        # the loop's products may round the one score at the threshold to its other side
        assert point.tar == pytest.approx(np.mean(np.array(mated) >= point.threshold), abs=1.5 / len(mated))
        assert point.far_measured == pytest.approx(np.mean(np.array(others) >= point.threshold), abs=1.5 / len(others))


def test_a_recogniser_against_itself_has_its_own_rates() -> None:
    rng = np.random.default_rng(1)
    centres, labels = unit(rng, (8, 16)), np.repeat(np.arange(8), 6)
    rows = centres[labels] + 0.2 * rng.normal(size=(48, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    alone, cross = verify_all_pairs(rows, labels, (0.1, 0.02)), verify_cross(rows, rows, labels, (0.1, 0.02))
    assert cross.mated == 2 * alone.mated and cross.non_mated == 2 * alone.non_mated
    assert [p.tar for p in cross.points] == pytest.approx([p.tar for p in alone.points])
    turned = verify_cross(rows, np.roll(rows, 1, axis=1), labels, (0.1,))
    assert turned.points[0].tar < 0.5 * alone.points[0].tar  # another basis: incompatible, however good alone


def test_other_dimensions_and_bad_rows_are_one_line() -> None:
    rng = np.random.default_rng(2)
    with pytest.raises(VultusError, match="8 and of 9 dimensions cannot be compared"):
        verify_cross(unit(rng, (5, 8)), unit(rng, (5, 9)), np.arange(5))
    with pytest.raises(VultusError, match="length"):
        verify_cross(unit(rng, (5, 8)), 2 * unit(rng, (5, 8)), np.arange(5))
