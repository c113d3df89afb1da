"""One more error moves no end of an interval the wrong way, whoever it belongs to and however people share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.evaluation.auc import auc_interval
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.intervals import compare_paired, fnmr_at_far, mated_rate, non_mated_rate, wilson
from vultus.evaluation.intervals.bootstrap import IdentityBootstrap
from vultus.evaluation.protocols.kfold import error_rate
from vultus.evaluation.protocols.search_rates import SearchRates
from vultus.evaluation.protocols.searches import Searches
from vultus.evaluation.scores.pairs import PairScores, explicit_scores

HAIR = 1e-12


@dataclass
class Data:
    """Photographs of each person, and every comparison of them: its people, whether it goes wrong, its score."""

    images: np.ndarray
    pairs: np.ndarray
    same: np.ndarray
    wrong: np.ndarray
    scores: np.ndarray

    def kept(self, worse: int | None = None) -> PairScores:
        scores = self.scores.copy()
        if worse is not None:
            scores[worse] = -0.5
        return explicit_scores(
            scores[self.same],
            scores[~self.same],
            mated_identity=self.pairs[self.same, 0],
            non_mated_identities=self.pairs[~self.same],
            comparisons=AllPairs(self.images),
        )


@st.composite
def data_sets(draw):
    """Few or many people with few or many photographs; errors heaped on a few of them, or spread over all, or none."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    people = draw(st.integers(3, 14))
    images = rng.integers(1, draw(st.sampled_from([3, 8])), people)
    images[:2] = 3
    owner = np.repeat(np.arange(people), images)
    pairs = owner[np.stack(np.triu_indices(len(owner), 1), axis=1)]
    share = rng.random(people) ** draw(st.sampled_from([0.0, 1.0, 20.0])) * draw(st.sampled_from([0.0, 0.02, 0.5, 1.0]))
    wrong = rng.random(len(pairs)) < share[pairs].max(axis=1)
    same = pairs[:, 0] == pairs[:, 1]
    scores = (0.3 + 0.3 * same - 0.5 * wrong * same + 0.12 * rng.normal(size=len(pairs))).clip(-0.9, 0.99)
    return Data(images, pairs, same, wrong, scores.astype(np.float32)), rng


def intervals(data: Data, wrong: np.ndarray) -> dict[str, tuple[float, float]]:
    """Of every rate of errors: mated, non-mated, of a list of pairs."""
    mated, apart = _people(data, wrong)
    compared = AllPairs(data.images)
    return {
        "mated": mated_rate(mated, compared).interval,
        "non-mated": non_mated_rate(apart[:, 0], apart[:, 1], compared).interval,
        "list": error_rate(wrong, data.same, data.pairs).interval,
    }


def _people(data: Data, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mated = np.bincount(data.pairs[wrong & data.same, 0], minlength=len(data.images))
    return mated, data.pairs[wrong & ~data.same]


@settings(max_examples=150, deadline=None)
@given(data_sets())
def test_one_more_error_lowers_no_end_of_an_error_rate(drawn):
    data, rng = drawn
    before = intervals(data, data.wrong)
    right = np.flatnonzero(~data.wrong)
    for extra in rng.permutation(right)[:5]:
        wrong = data.wrong.copy()
        wrong[extra] = True
        for name, (low, high) in intervals(data, wrong).items():
            assert low >= before[name][0] - HAIR, name
            assert high >= before[name][1] - HAIR, name


@settings(max_examples=60, deadline=None)
@given(data_sets())
def test_one_more_error_raises_no_end_of_a_tar_a_difference_or_an_area(drawn):
    data, rng = drawn
    compared = AllPairs(data.images)
    drawn_people = IdentityBootstrap(compared, replicates=30)
    other, before = data.kept(), data.kept()
    worse = data.kept(int(rng.choice(np.flatnonzero(data.same))))
    far = max(0.2, 10.5 / before.non_mated)
    if far > 1:
        return
    old, new = (fnmr_at_far(scores, far, drawn_people) for scores in (before, worse))
    assert old is not None and new is not None
    assert new.interval[0] >= old.interval[0] - HAIR
    assert new.interval[1] >= old.interval[1] - HAIR
    (first,), (second,) = (compare_paired(scores, other, [far], replicates=30) for scores in (before, worse))
    assert first.interval is not None and second.interval is not None
    assert second.interval[0] <= first.interval[0] + HAIR
    assert second.interval[1] <= first.interval[1] + HAIR
    areas = [auc_interval(scores) for scores in (before, worse)]
    assert areas[1][0] <= areas[0][0] + HAIR
    assert areas[1][1] <= areas[0][1] + HAIR


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 10**6))
def test_one_more_false_alarm_lowers_no_end_of_fpir(strangers, searches, seed):
    rng = np.random.default_rng(seed)
    stranger = 10 + np.repeat(np.arange(strangers), searches)
    best = np.where(rng.random(len(stranger)) < rng.random(), 0.7, 0.2).astype(np.float32)
    candidate = rng.integers(0, 1 + int(rng.integers(5)), len(stranger))

    def fpir(scores):
        none = np.empty(0, np.int64)
        gallery = Searches(
            enrolled=np.arange(5),
            templates=5,
            mated_identity=none,
            rank=none,
            mate=np.empty(0, np.float32),
            mated_best=np.empty(0, np.float32),
            failures=0,
            stranger=stranger,
            candidate=candidate,
            best=scores,
            strangers_without_face=0,
        )
        return SearchRates([gallery]).fpir(0.5).interval

    before = fpir(best)
    for extra in np.flatnonzero(best < 0.5)[:3]:
        more = best.copy()
        more[extra] = 0.7
        assert fpir(more)[0] >= before[0] - HAIR
        assert fpir(more)[1] >= before[1] - HAIR


@pytest.mark.parametrize("people", [3, 24, 300])
@pytest.mark.parametrize("images", [2, 8])
def test_errors_one_by_one_from_none_to_all(people, images):
    compared = AllPairs(np.full(people, images))
    each = images * (images - 1) // 2
    for order in (np.repeat(np.arange(people), each), np.tile(np.arange(people), each)):
        ends = [
            mated_rate(np.bincount(order[:k], minlength=people), compared).interval
            for k in [*range(min(40, len(order))), len(order) - 1, len(order)]
        ]
        assert (np.diff(ends, axis=0) >= -HAIR).all()
    # None at all: as good as so many comparisons can show; one error: worse.
    assert ends[0] == wilson(0, people * each)
    assert ends[-1][1] == 1
