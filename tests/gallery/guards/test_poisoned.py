"""Templates that do not fit their person's others are named, and nobody else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import ContractError
from vultus.evaluation import Threshold
from vultus.gallery.guards import Far, far_templates

DIM = 64


def at(score: float, fmr: float = 0.01) -> Threshold:
    return Threshold(score, fmr, fmr, (0.0, 1.0), (0.0, 1.0), 0.0, (0.0, 1.0), "made up")


THRESHOLD = at(0.3)
NOBODY = np.empty((0, DIM), np.float32)


def photographs(who: int, count: int, likeness: float = 0.7, seed: int = 0) -> np.ndarray:
    """(count, DIM) unit rows: those of one person score about `likeness`, of two people about 0."""
    rng = np.random.default_rng((who, seed))
    parts = rng.normal(size=(count, DIM - 8))
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    rows = np.zeros((count, DIM))
    rows[:, who], rows[:, 8:] = likeness**0.5, (1 - likeness) ** 0.5 * parts
    return rows.astype(np.float32)


def named(far: list[Far]) -> list[int]:
    return [one.row for one in far]


def test_a_persons_own_photographs_pass() -> None:
    rows = photographs(0, 6)
    for known in range(6):
        assert far_templates(rows[known:], rows[:known], THRESHOLD) == []


@pytest.mark.parametrize("known", [1, 2, 5])
def test_a_strangers_photograph_among_them_is_named(known: int) -> None:
    new = np.concatenate([photographs(0, 2, seed=1), photographs(1, 1), photographs(0, 1, seed=2)])
    (far,) = far_templates(new, photographs(0, known), THRESHOLD)
    assert (far.row, far.others, far.known) == (2, known + 3, True)
    assert far.score == pytest.approx(0, abs=0.15)


def test_a_group_of_strangers_does_not_outvote_who_is_enrolled() -> None:
    assert named(far_templates(photographs(1, 9), photographs(0, 1), THRESHOLD)) == list(range(9))


def test_a_first_photograph_has_nothing_to_differ_from() -> None:
    assert far_templates(photographs(0, 1), NOBODY, THRESHOLD) == []
    assert far_templates(NOBODY, photographs(0, 1), THRESHOLD) == []
    assert far_templates(NOBODY, NOBODY, THRESHOLD) == []
    assert far_templates(photographs(0, 1), np.empty((0, 0), np.float32), THRESHOLD) == []


def test_two_that_disagree_are_both_named() -> None:
    far = far_templates(np.concatenate([photographs(0, 1), photographs(1, 1)]), NOBODY, THRESHOLD)
    assert named(far) == [0, 1]
    assert not any(one.known for one in far)
    assert "the photographs do not show one person" in str(far[0])


def test_the_majority_of_new_ones_says_who_it_is() -> None:
    new = np.concatenate([photographs(1, 2), photographs(0, 3)])
    assert named(far_templates(new, NOBODY, THRESHOLD)) == [0, 1]


def test_half_against_half_cannot_be_decided() -> None:
    far = far_templates(np.concatenate([photographs(0, 2), photographs(1, 2)]), NOBODY, THRESHOLD)
    assert named(far) == [0, 1, 2, 3] and not any(one.known for one in far)


def test_many_templates_give_a_stranger_no_more_chances() -> None:
    known = photographs(0, 9)
    like_one = 0.5 * known[3] + 0.75**0.5 * photographs(1, 1)[0]
    like_one /= np.linalg.norm(like_one)
    assert like_one @ known[3] > THRESHOLD.score
    known = np.concatenate([known[3:4], photographs(0, 8, likeness=0.2, seed=3)])
    assert named(far_templates(like_one[None], known, THRESHOLD)) == [0]


def test_a_chain_does_not_lead_away_from_the_person() -> None:
    angles = np.arange(0, 180, 30) * np.pi / 180
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    far = far_templates(chain[1:], chain[:1], at(0.8))
    assert all(chain[k] @ chain[k - 1] > 0.8 for k in range(1, 6))
    assert {2, 3, 4} <= set(named(far))


def test_the_reason_says_what_was_measured_and_what_it_means() -> None:
    (far,) = far_templates(photographs(1, 1), photographs(0, 3), at(0.29144, 0.01))
    assert str(far).startswith("not like this person's 3 other photographs: mean score ")
    assert "below 0.291, which 1 % of comparisons with strangers reach" in str(far)
    assert "outlier_fmr" in str(far) and "\n" not in str(far)


def test_a_score_just_below_is_shown_as_below() -> None:
    assert "mean score 0.29996, below 0.300" in str(Far(0, 0.29996, 1, THRESHOLD, True))


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ContractError, match="shapes"):
        far_templates(np.ones((1, 3), np.float32), np.ones((1, 4), np.float32), THRESHOLD)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 4), st.lists(st.integers(0, 2), min_size=1, max_size=9), st.randoms())
def test_the_order_of_the_photographs_does_not_matter(known: int, people: list[int], order: object) -> None:
    new = np.concatenate([photographs(who, 1, seed=k + 10) for k, who in enumerate(people)])
    shuffled = np.random.default_rng(hash(order) % 2**32).permutation(len(new))
    plain = named(far_templates(new, photographs(0, known), THRESHOLD))
    again = named(far_templates(new[shuffled], photographs(0, known), THRESHOLD))
    assert plain == sorted(int(shuffled[k]) for k in again)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3), st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_what_passes_agrees_and_the_wrong_are_named(known: int, people: list[int]) -> None:
    new = np.concatenate([photographs(who, 1, seed=k + 20) for k, who in enumerate(people)])
    far = set(named(far_templates(new, photographs(0, known), THRESHOLD)))
    if known or 2 * people.count(0) > len(people):
        assert far == {k for k, who in enumerate(people) if who != 0}
    elif 2 * max(people.count(1), people.count(2)) <= len(people) and len(people) > 1:
        assert far == set(range(len(people)))


def test_a_thousand_photographs_are_judged_together() -> None:
    rows = np.concatenate([photographs(0, 700), photographs(1, 300)])
    assert named(far_templates(rows, NOBODY, THRESHOLD)) == list(range(700, 1000))
