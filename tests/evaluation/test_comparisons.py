"""Counts over identities and over pairs of identities, beside a plain walk over every comparison."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.evaluation.comparisons import AllPairs, Comparisons, Listed, TwoSets


def walk(pairs: list[tuple[int, int]], identities: int, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Everything that `Comparisons` tells, one comparison at a time."""
    mated, non_mated = np.zeros(identities, int), np.zeros(identities, int)
    between, weighted = np.zeros((identities, identities), int), np.zeros(1)
    for i, j in pairs:
        if i == j:
            mated[i] += 1
            continue
        non_mated[[i, j]] += 1
        between[i, j] += 1
        between[j, i] += 1
        weighted += weights[i] * weights[j]
    return mated, non_mated, between, weighted


def check(comparisons: Comparisons, pairs: list[tuple[int, int]], identities: int) -> None:
    weights = np.random.default_rng(0).integers(0, 4, identities)
    mated, non_mated, between, weighted = walk(pairs, identities, weights)
    np.testing.assert_array_equal(comparisons.mated, mated)
    np.testing.assert_array_equal(comparisons.non_mated, non_mated)
    first, second = np.triu_indices(identities, 1)
    np.testing.assert_array_equal(comparisons.between(first, second), between[first, second])
    np.testing.assert_array_equal(comparisons.between(second, first), between[first, second])
    assert comparisons.squares == (between[first, second] ** 2).sum()
    twice = np.stack([weights, np.ones_like(weights)]).astype(float)
    np.testing.assert_allclose(comparisons.weighted(twice), [weighted[0], between[first, second].sum()])


images = st.lists(st.integers(0, 4), min_size=2, max_size=5)


@settings(max_examples=30)
@given(images)
def test_all_pairs(counts):
    owners = np.repeat(np.arange(len(counts)), counts)
    pairs = [(int(a), int(b)) for a, b in combinations(owners, 2)]
    check(AllPairs(np.array(counts)), pairs, len(counts))


@settings(max_examples=30)
@given(images, st.data())
def test_two_sets(counts, data):
    probes = data.draw(st.lists(st.integers(0, 3), min_size=len(counts), max_size=len(counts)))
    enrolled = np.repeat(np.arange(len(counts)), counts)
    probing = np.repeat(np.arange(len(counts)), probes)
    pairs = [(int(a), int(b)) for a, b in product(enrolled, probing)]
    check(TwoSets(np.array(counts), np.array(probes)), pairs, len(counts))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_listed(pairs):
    check(Listed(np.array(pairs), 5), pairs, 5)


def test_a_set_with_itself_leaves_each_image_out_once():
    # Identity 0 has images a, b; identity 1 has c. All nine products less aa, bb, cc: mated ab, ba; the rest apart.
    counts = np.array([2, 1])
    both = TwoSets(counts, counts, same_images=counts)
    assert both.mated.tolist() == [2, 0]
    assert both.non_mated.tolist() == [4, 4]


def test_a_list_without_non_mated_comparisons():
    mated = Listed(np.array([[0, 0], [1, 1]]), 2)
    assert mated.between(np.array([0]), np.array([1])).tolist() == [0]
    assert (mated.squares, mated.weighted(np.ones((1, 2))).tolist()) == (0, [0])
    assert mated.non_mated.tolist() == [0, 0]


@pytest.mark.parametrize("images", [3_000_000, 10_000_000])
def test_counts_of_very_large_sets_do_not_overflow(images):
    each = np.full(2, images // 2)
    assert AllPairs(each).squares == pytest.approx((images / 2) ** 4)
    assert AllPairs(each).non_mated.sum() // 2 == (images // 2) ** 2
