"""Whose comparison each score is: counts by identity, and lists of scores that name their identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.scores import all_pairs, count_by_identity, explicit_scores


def faces(images: int, identities: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, identities, images)
    rows = rng.normal(size=(identities, 16))[labels] + rng.normal(size=(images, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (np.round(rows * 2**11) / 2**11).astype(np.float32), labels  # dot products are exact in float32


@pytest.mark.parametrize("block", [1, 13, 40, 5000])
@pytest.mark.parametrize("threads", [1, 2])
def test_counts_by_identity_equal_a_double_loop(block, threads):
    rows, labels = faces(120, 15)
    labels[:30] = 7  # an identity with more images than most blocks have rows
    codes = np.unique(labels, return_inverse=True)[1]
    images = np.bincount(codes)
    thresholds = (0.0, 0.4, 0.7, 2.0)
    found = count_by_identity(rows, labels, thresholds, block=block, threads=threads)
    for number, threshold in enumerate(thresholds):
        between = np.zeros((len(images), len(images)), int)
        for i in range(120):
            for j in range(i):
                if codes[i] != codes[j] and np.dot(rows[i], rows[j]) >= np.float32(threshold):
                    between[min(codes[i], codes[j]), max(codes[i], codes[j])] += 1
        assert np.array_equal(found.matches[number], between.sum(0) + between.sum(1))
        assert found.squares[number] == (between**2).sum()
        assert found.products[number] == (between * np.outer(images, images)).sum()


def test_counts_by_identity_agree_with_the_kept_tail():
    rows, labels = faces(200, 12)
    kept = all_pairs(rows, labels)
    threshold = kept.threshold(200)
    found = count_by_identity(rows, labels, [threshold], block=50)
    assert found.matches.sum() == 2 * kept.false_matches(threshold)


def test_listed_scores_know_their_identities():
    # Three people. Mated: 0.9 of person 0, no face for person 2, 0.5 of person 1. Non-mated: 0-1, 1-2 (no face), 2-0.
    found = explicit_scores(
        np.array([0.9, -np.inf, 0.5]),
        np.array([0.3, -np.inf, 0.1]),
        mated_identity=np.array([0, 2, 1]),
        non_mated_identities=np.array([[0, 1], [1, 2], [2, 0]]),
    )
    assert found.mated.tolist() == pytest.approx([0.5, 0.9]) and found.mated_identity is not None
    assert found.mated_identity.tolist() == [1, 0]
    assert found.failures is not None and found.failures.tolist() == [0, 0, 1]
    assert found.tail_identities is not None and found.tail_identities.tolist() == [[2, 0], [0, 1]]
    assert found.comparisons is not None
    assert found.comparisons.mated.tolist() == [1, 1, 1]  # the one without a face counts
    assert found.comparisons.non_mated.tolist() == [2, 1, 1]  # and there it does not
    assert (found.mated_comparisons, found.mated_failures, found.non_mated) == (3, 1, 2)


def test_failures_that_are_not_listed_count_by_identity_or_in_all():
    scores: dict[str, Any] = {
        "mated": np.array([0.9, 0.8]),
        "non_mated": np.array([0.1]),
        "mated_identity": np.array([0, 1]),
        "non_mated_identities": np.array([[0, 1]]),
    }
    found = explicit_scores(**scores, mated_failures=np.array([0, 2]))
    assert found.comparisons is not None and found.comparisons.mated.tolist() == [1, 3]
    assert found.failures is not None and found.failures.tolist() == [0, 2] and found.mated_failures == 2
    in_all = explicit_scores(**scores, mated_failures=2)
    assert in_all.mated_identity is None and in_all.failures is None and in_all.mated_failures == 2
    assert in_all.tail_identities is not None  # the non-mated ones are known all the same


def test_a_design_that_counts_itself_is_taken_as_given():
    design = AllPairs(np.array([2, 1]))
    found = explicit_scores(
        np.array([0.9]),
        np.array([0.2, 0.1]),
        mated_identity=np.array([0]),
        non_mated_identities=np.array([[0, 1], [0, 1]]),
        comparisons=design,
    )
    assert found.comparisons is design


@pytest.mark.parametrize(
    ("identities", "message"),
    [
        ({"mated_identity": np.array([0, 1])}, "give both, or neither"),
        (
            {"mated_identity": np.array([0]), "non_mated_identities": np.array([[0, 1]])},
            r"shapes \(1,\) and \(1, 2\) do not belong to 2 mated and 1 non-mated",
        ),
        (
            {"mated_identity": np.array([0, 1]), "non_mated_identities": np.array([[1, 1]])},
            "non-mated comparison 0 has one identity twice",
        ),
    ],
)
def test_identities_that_do_not_fit(identities, message):
    with pytest.raises(VultusError, match=message):
        explicit_scores(np.array([0.9, 0.8]), np.array([0.1]), **identities)
