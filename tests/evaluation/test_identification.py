"""FPIR, FNIR, rank and CMC by their definitions: small cases worked out by hand, and plain loops."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import VultusError
from vultus.evaluation.protocols import searches as searches_module
from vultus.evaluation.protocols.identification import identification, identify
from vultus.evaluation.protocols.search_rates import SearchRates
from vultus.evaluation.protocols.searches import NEVER, Searches, mean_templates, search


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def at(*cosines: float) -> np.ndarray:
    """A unit row whose cosine to the k-th axis is the k-th number; one more axis takes the rest."""
    return np.array([*cosines, np.sqrt(1 - np.square(cosines).sum())], dtype=np.float32)


# Three people, 0, 1, 2, are enrolled with one template each: the axes of a space, so that the cosine of a probe to
# person k is its k-th number.
GALLERY, OWNERS = np.eye(4, dtype=np.float32)[:3], np.array([0, 1, 2])

# Mated probes            person 0, 1, 2    whose   mate   rank of the mate
MATED = np.stack(
    [
        at(0.8, 0.1, 0.2),  #                 0      0.8    1
        at(0.5, 0.6, 0.1),  #                 0      0.5    2: person 1 is before
        at(0.4, 0.4, 0.3),  #                 1      0.4    2: person 0 scores the same, and the tie counts against
        at(0.2, 0.3, 0.1),  #                 2      0.1    3
    ]
)
WHOSE = np.array([0, 0, 1, 2])

# Non-mated probes: persons 7 and 8. The best scores are 0.6, 0.3, 0.2, 0.1.
STRANGERS = np.stack([at(0.6, 0.5, 0.1), at(0.1, 0.3, 0.2), at(0.2, 0.1, 0.0), at(0.1, 0.0, 0.0)])
NAMES = np.array([7, 7, 8, 8])


def small(**options):
    probes, labels = np.concatenate([MATED, STRANGERS]), np.concatenate([WHOSE, NAMES])
    return identify(GALLERY, OWNERS, probes, labels, **options)


def rates(rank: int = 1, failures: int = 0) -> SearchRates:
    own, others = search(GALLERY, OWNERS, MATED, WHOSE), search(GALLERY, OWNERS, STRANGERS, NAMES)
    lost = np.full(failures, -np.inf, np.float32)
    found = Searches(
        enrolled=OWNERS,
        templates=3,
        mated_identity=np.concatenate([WHOSE, np.full(failures, 2)]),
        mate=np.concatenate([own.mate, lost]),
        rank=np.concatenate([own.rank, np.full(failures, NEVER)]),
        mated_best=np.concatenate([own.best, lost]),
        failures=failures,
        stranger=NAMES,
        best=others.best,
        candidate=others.candidate,
        strangers_without_face=0,
    )
    return SearchRates([found], rank)


def test_what_a_search_keeps():
    own = search(GALLERY, OWNERS, MATED, WHOSE)
    np.testing.assert_array_equal(own.mate, np.array([0.8, 0.5, 0.4, 0.1], np.float32))
    np.testing.assert_array_equal(own.rank, [1, 2, 2, 3])
    np.testing.assert_array_equal(own.best, np.array([0.8, 0.6, 0.4, 0.3], np.float32))
    np.testing.assert_array_equal(own.candidate, [0, 1, 0, 1])
    others = search(GALLERY, OWNERS, STRANGERS, NAMES)
    np.testing.assert_array_equal(others.best, np.array([0.6, 0.3, 0.2, 0.1], np.float32))
    np.testing.assert_array_equal(others.candidate, [0, 1, 0, 0])
    assert (others.rank == NEVER).all()
    assert np.isneginf(others.mate).all()


def test_fpir_counts_searches_not_candidates():
    # At 0.5 stranger 7's first search returns two candidates (0.6, 0.5): one false positive identification of four.
    assert rates().fpir(0.5).value == 1 / 4
    assert rates().fpir(0.3).value == 2 / 4  # 0.6 and the score 0.3 itself: a match is score >= threshold
    assert rates().fpir(0.30001).value == 1 / 4
    assert rates().fpir(0.61).value == 0
    assert rates().fpir(-1).value == 1


@pytest.mark.parametrize(
    ("rank", "threshold", "missed"),
    [
        (1, -1, 3),  # only the first search has its person on rank 1
        (2, -1, 1),  # the fourth has rank 3
        (3, -1, 0),
        (1, 0.8, 3),
        (1, 0.81, 4),
        (2, 0.4, 1),  # 0.8, 0.5 and 0.4 pass
        (2, 0.45, 2),  # 0.4 falls below
        (2, 0.55, 3),
        (3, 0.1, 0),
        (3, 0.2, 1),
    ],
)
def test_fnir_at_rank_and_threshold(rank, threshold, missed):
    assert rates(rank).fnir(threshold).value == missed / 4
    assert rates(rank, failures=1).fnir(threshold).value == (missed + 1) / 5  # a probe without a face is missed


def test_cmc_of_the_closed_set_with_a_tie_against_the_system():
    np.testing.assert_allclose(small().cmc, [1 / 4, 3 / 4, 1])  # ranks 1, 2, 2, 3
    np.testing.assert_allclose(small(missing=np.array([2])).cmc, [1 / 5, 3 / 5, 4 / 5])  # never 1 with a failure


def test_failures_of_strangers_are_left_out_and_counted():
    with_face = small()
    found = small(missing=np.array([2, 7, 9]))  # 9 is a stranger of whom there is nothing else
    assert (found.mated, found.mated_failures) == (5, 1)
    assert (found.non_mated, found.non_mated_failures) == (4, 2)
    np.testing.assert_array_equal(found.curve_fpir, with_face.curve_fpir)


def test_somebody_else_above_the_threshold():
    # The second mated search finds person 1 (0.6) before person 0, the third cannot tell 0 from 1 (0.4), the fourth
    # finds person 1 (0.3).
    assert [rates().misidentified(t) for t in (0.61, 0.6, 0.4, 0.3)] == [0, 1, 2, 3]


def test_threshold_is_the_smallest_with_fpir_at_most_the_target():
    r = rates()
    for target, expected in ((0.1, 0.0), (0.25, 0.25), (0.49, 0.25), (0.5, 0.5), (0.9, 0.75)):
        threshold = r.threshold(target)
        assert r.fpir(threshold).value == expected
        assert r.fpir(float(np.nextafter(np.float32(threshold), np.float32(-1)))).value > target


def test_equal_scores_of_strangers_pass_or_fail_together():
    # Three of four strangers score 0.5: half of them cannot be let through, so at a target of 1/2 none is.
    probes = np.stack([at(0.5, 0, 0), at(0.5, 0, 0), at(0.5, 0, 0), at(0.1, 0, 0), MATED[0]])
    found = identify(GALLERY, OWNERS, probes, np.array([7, 8, 9, 10, 0]))
    np.testing.assert_allclose(found.curve_threshold, [0.1, 0.5], atol=1e-7)
    np.testing.assert_allclose(found.curve_fpir, [1, 3 / 4])


def test_best_of_several_templates_or_their_mean():
    # Person 0: templates at 0 and 90 degrees; person 1: at 180 degrees. A probe at 0 degrees scores 1 with the better
    # template and cos 45 with the mean of both.
    templates, owners = unit([[1, 0], [0, 1], [-1, 0]]), np.array([0, 0, 1])
    probe, stranger = unit([[1, 0]]), unit([[0, -1]])
    best = search(templates, owners, np.concatenate([probe, stranger]), np.array([0, 5]))
    np.testing.assert_allclose(best.mate, [1, -np.inf], atol=1e-6)
    np.testing.assert_allclose(best.best, [1, 0], atol=1e-6)
    mean, people = mean_templates(templates, owners)
    np.testing.assert_array_equal(people, [0, 1])
    np.testing.assert_allclose(mean, [[np.sqrt(0.5), np.sqrt(0.5)], [-1, 0]], atol=1e-6)
    probes, labels = np.concatenate([probe, stranger]), np.array([0, 5])
    fused = identify(templates, owners, probes, labels, fuse="mean")
    assert (fused.people, fused.templates) == (2, 2)
    assert identify(templates, owners, probes, labels).templates == 3
    with pytest.raises(VultusError, match="cancel"):
        mean_templates(unit([[1, 0], [-1, 0]]), np.array([3, 3]))


def plain_loop(gallery, owners, probe, label):
    """(best, mate, rank) of one search, in the plainest Python."""
    score = {
        person: max(float(g @ probe) for g, o in zip(gallery, owners, strict=True) if o == person) for person in owners
    }
    mate = score.get(label)
    rank = None if mate is None else sum(1 for s in score.values() if s >= mate)
    return max(score.values()), mate, rank


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([(2**22, 2**16), (7, 4)]))
def test_search_equals_a_plain_loop(seed, people, blocks):
    # Coarse coordinates, so that ties are common; products of these are exact in float32.
    rng = np.random.default_rng(seed)
    gallery = rng.integers(-2, 3, (rng.integers(people, 4 * people), 3)).astype(np.float32) / 8
    owners = rng.permutation(np.concatenate([np.arange(people), rng.integers(0, people, len(gallery) - people)]) * 2)
    probes = rng.integers(-2, 3, (9, 3)).astype(np.float32) / 8
    labels = rng.integers(0, 2 * people, 9)
    old = searches_module.CELLS, searches_module.COLUMNS
    try:
        searches_module.CELLS, searches_module.COLUMNS = blocks
        found = search(gallery, owners, probes, labels)
    finally:
        searches_module.CELLS, searches_module.COLUMNS = old
    for k, (probe, label) in enumerate(zip(probes, labels, strict=True)):
        best, mate, rank = plain_loop(gallery, owners, probe, label)
        assert found.best[k] == np.float32(best)
        assert found.candidate[k] in owners
        assert (found.mate[k], found.rank[k]) == ((-np.inf, NEVER) if mate is None else (np.float32(mate), rank))


def test_closed_set_cmc_and_open_set_rates_equal_plain_loops():
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(40, 8))
    labels = np.concatenate([np.arange(30), rng.integers(0, 40, 400)])
    rows = unit(centres[labels] + 0.9 * rng.normal(size=(430, 8)))
    found = identify(rows[:30], labels[:30], rows[30:], labels[30:], fpirs=(0.3, 0.2), rank=2)
    loop = [plain_loop(rows[:30], labels[:30], p, n) for p, n in zip(rows[30:], labels[30:], strict=True)]
    mated = [(mate, rank) for _, mate, rank in loop if mate is not None and rank is not None]
    strangers = [best for best, mate, _ in loop if mate is None]
    assert (found.mated, found.non_mated) == (len(mated), len(strangers))
    for k in range(1, 31):
        assert found.cmc[k - 1] == sum(rank <= k for _, rank in mated) / len(mated)
    for point in found.points:
        assert point.threshold is not None
        assert point.fpir_rate is not None
        assert point.fnir is not None
        # The threshold lies just above a score, which a product in another order may round differently.
        false = sum(best >= point.threshold + 1e-6 for best in strangers) / len(strangers)
        missed = sum(not (rank <= 2 and mate >= point.threshold) for mate, rank in mated) / len(mated)
        assert false <= point.fpir < false + 1.01 / len(strangers)
        assert (point.fpir_rate.value, point.fnir.value) == (false, missed)
        assert point.tpir == 1 - missed
    for t, fpir, fnir in zip(found.curve_threshold[::7], found.curve_fpir[::7], found.curve_fnir[::7], strict=True):
        assert fpir == sum(np.float32(best) >= t - 1e-6 for best in strangers) / len(strangers)
        assert fnir == sum(not (rank <= 2 and mate >= t) for mate, rank in mated) / len(mated)


def test_a_rate_that_the_searches_cannot_support_is_withheld():
    probes = np.concatenate([MATED, np.tile(at(0.2, 0.1, 0), (99, 1))])
    labels = np.concatenate([WHOSE, 10 + np.arange(99)])
    low, enough = identify(GALLERY, OWNERS, probes, labels, fpirs=(0.1, 0.2)).points
    assert (low.tpir, low.threshold, low.tpir_interval) == (None, None, None)
    assert low.needs == 100  # 0.1 x 99 < 10
    assert enough.needs is None
    assert enough.fpir_rate is not None
    assert enough.fpir_rate.value == 0  # all strangers score the same: all or nobody


def test_intervals_know_that_searches_share_people():
    # 20 people with 10 probes each: of each person either all searches fail or none. That is what 20 searches tell.
    owner = np.repeat(np.arange(20), 10)
    shared = np.where(owner < 5, np.float32(0.1), np.float32(0.9))
    spread = np.where(np.arange(200) % 4 == 0, np.float32(0.1), np.float32(0.9))  # the same share, over everybody
    result = []
    for mate in (shared, spread):
        found = Searches(
            enrolled=np.arange(20),
            templates=20,
            mated_identity=owner,
            mate=mate,
            rank=np.ones(200, np.int64),
            mated_best=mate,
            failures=0,
            stranger=20 + owner,
            best=mate,
            candidate=owner,
            strangers_without_face=0,
        )
        result.append(SearchRates([found]))
    clustered, independent = result
    assert clustered.fnir(0.5).value == independent.fnir(0.5).value == 0.25
    assert clustered.fnir(0.5).effective == pytest.approx(20, rel=0.06)
    assert independent.fnir(0.5).effective == 200  # never more than the searches
    # Strangers 20..24 set off all alarms, each through one enrolled person of its own.
    assert clustered.fpir(0.5).value == 0.75
    assert clustered.fpir(0.5).effective < 25
    assert independent.fpir(0.5).effective > 100


def test_results_are_json():
    found = small(fpirs=(0.1,), missing=np.array([0]))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["points"][0]["needs"] == 100
    assert plain["cmc"] == found.cmc.tolist()
    with pytest.raises(KeyError, match=r"0\.1"):
        found.point(0.5)


def test_what_cannot_be_measured_says_so():
    with pytest.raises(VultusError, match="nobody is left as a stranger"):
        identify(GALLERY, OWNERS, MATED, WHOSE)
    with pytest.raises(VultusError, match="no probe shows one of the 3 enrolled people"):
        identify(GALLERY, OWNERS, STRANGERS, NAMES)
    with pytest.raises(VultusError, match="gallery is empty"):
        identify(GALLERY[:0], OWNERS[:0], STRANGERS, NAMES)
    with pytest.raises(VultusError, match="4 dimensions"):
        identify(GALLERY, OWNERS, np.eye(3, dtype=np.float32), OWNERS)
    with pytest.raises(VultusError, match="NaN"):
        identify(GALLERY, OWNERS, np.full((1, 4), np.nan), np.array([1]))
    with pytest.raises(VultusError, match="missing"):
        small(missing=np.array(["Ann"]))
    with pytest.raises(VultusError, match="between 0 and 1"):
        small(fpirs=(1.5,))
    with pytest.raises(VultusError, match="rank 0"):
        small(rank=0)
    with pytest.raises(VultusError, match="fuse"):
        small(fuse="median")
    with pytest.raises(VultusError, match="no gallery"):
        identification([])
