"""k-fold accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation import kfold_accuracy
from vultus.evaluation.comparisons import Listed
from vultus.evaluation.protocols.kfold import best_threshold, error_rate
from vultus.evaluation.protocols.listed import joined, listed_scores, verify_list


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


def test_people_in_two_folds_are_counted():
    scores, same = np.array([0.9, 0.1, 0.9, 0.1]), np.array([True, False, True, False])
    identities = np.array([[0, 0], [0, 1], [2, 2], [2, 1]])  # person 1 is in both folds
    found = kfold_accuracy(scores, same, np.array([0, 0, 1, 1]), identities)
    assert found.shared == 1 and found.by_identity
    assert kfold_accuracy(scores, same, np.array([0, 0, 1, 1])).shared is None


def test_wrong_decisions_about_one_person_count_less_than_about_many():
    """Worked out on paper: 8 mated pairs, four of person 0 (n / P = 1/2) and one each of persons 1..4 (1/8).

    A: two of person 0's are wrong, p = 1/4, residuals 3/4 and -1/4: R_0 = 1, over 1/2: 2; the others -1/4, over 7/8:
       -2/7. Var = (4 + 4 * 4/49) / 64 = (212/49) / 64; n* = (3/16) / Var = 12 * 49 / 212.
    B: the pairs of 1..4 are one a person and two are wrong: R_0 = -1, over 1/2: -2; 6/7, 6/7, -2/7, -2/7.
       Var = (4 + 80/49) / 64; n* = 12 * 49 / 276.
    """
    people = np.array([0, 0, 0, 0, 1, 2, 3, 4])
    identities, same = np.stack([people, people], axis=1), np.ones(8, bool)
    assert error_rate(np.arange(8) < 2, same, identities).effective == pytest.approx(12 * 49 / 212)
    assert error_rate(np.isin(np.arange(8), [4, 5]), same, identities).effective == pytest.approx(12 * 49 / 276)
    # No error: as if a person's pairs went wrong together, 64 / (16 + 4) = 3.2 pairs.
    assert error_rate(np.zeros(8, bool), same, identities).effective == pytest.approx(3.2)
    # One pair a person, half of them wrong: each pair counts, R_i = 1/2 over 7/8.
    apart = np.stack([np.arange(8)] * 2, axis=1)
    assert error_rate(np.arange(8) < 4, same, apart).effective == pytest.approx(8 * 49 / 64)
    # One person in all pairs: one independent pair.
    assert error_rate(np.arange(8) < 4, same, np.zeros((8, 2), int)).effective == pytest.approx(1)


def test_a_non_mated_pair_counts_for_both_people():
    """Three pairs 0-1, 0-2, 3-4, the first two wrong: p = 2/3, residuals 1/3, 1/3, -2/3.

    R = 2/3, 1/3, 1/3, -2/3, -2/3 over 1/3, 2/3, 2/3, 2/3, 2/3: 2, 1/2, 1/2, -1, -1, squares 13/2; of the pairs 6/9.
    Var = (35/6) / 9; n* = (2/9) / Var = 12/35.
    """
    identities = np.array([[0, 1], [2, 0], [3, 4]])
    found = error_rate(np.array([True, True, False]), np.zeros(3, bool), identities)
    assert found.effective == pytest.approx(12 / 35) and found.errors == 2


def test_a_list_of_scores_knows_whose_they_are():
    scores = np.array([0.9, -np.inf, 0.2, 0.7, -np.inf, 0.1])
    same = np.array([True, True, True, False, False, False])
    identities = np.array([[0, 0], [1, 1], [2, 2], [0, 1], [1, 2], [2, 0]])
    found = listed_scores(scores, same, identities)
    assert found.mated.tolist() == pytest.approx([0.2, 0.9]) and found.mated_identity.tolist() == [2, 0]
    assert found.mated_failures == 1 and found.failures.tolist() == [0, 1, 0]
    assert found.tail.tolist() == pytest.approx([0.1, 0.7]) and found.tail_identities.tolist() == [[2, 0], [0, 1]]
    assert found.non_mated == 2 and isinstance(found.comparisons, Listed)  # a missing face rejected nobody
    assert found.comparisons.mated.tolist() == [1, 1, 1] and found.comparisons.non_mated.tolist() == [2, 1, 1]
    with pytest.raises(ValueError, match="equal in a row"):
        listed_scores(scores, ~same, identities)
    with pytest.raises(VultusError, match="score 0 is not a number"):
        listed_scores(np.full(6, np.nan), same, identities)


def test_a_list_without_non_mated_pairs_has_no_false_match_rate():
    with pytest.raises(VultusError, match="nobody to tell apart"):
        verify_list(np.ones(3), np.ones(3, bool))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_joined_directly_or_over_others_is_one_group(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 60, 40), rng.integers(0, 60, 40)
    groups = [{i} for i in range(60)]
    for a, b in zip(first, second, strict=True):  # the plainest way
        one = next(g for g in groups if a in g) | next(g for g in groups if b in g)
        groups = [g for g in groups if not g & one] + [one]
    found = joined(60, first, second)
    assert {frozenset(np.flatnonzero(found == g).tolist()) for g in range(found.max() + 1)} == set(
        map(frozenset, groups)
    )
