"""Exact rates over all pairs, whatever the block size, and nothing where the data is too small."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from vultus.errors import VultusError
from vultus.evaluation import cap_per_identity, verify_all_pairs, verify_scores
from vultus.evaluation.scores import BIN, all_pairs


def make_faces(images: int, identities: int, noise: float = 1.0, dim: int = 32, seed: int = 0):
    """Entries are multiples of 2^-11, so that a dot product is exact in float32 in any order of summation."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, identities, images)
    rows = rng.normal(size=(identities, dim))[labels] + noise * rng.normal(size=(images, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (np.round(rows * 2**11) / 2**11).astype(np.float32), labels


def make_tied_faces(images: int, identities: int, seed: int = 0):
    """Unit rows with four entries of +-0.5: every score is an exact multiple of 0.25, so almost all are ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, identities, images)
    rows = np.zeros((images, 12), np.float32)
    for row in rows:
        row[rng.choice(12, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return rows, labels


def brute_force(embeddings, labels):
    """(mated, non-mated) scores, one by one."""
    i, j = np.triu_indices(len(labels), 1)
    scores = np.clip(np.einsum("nd,nd->n", embeddings[i], embeddings[j], dtype=np.float32), -1, 1)
    same = labels[i] == labels[j]
    return scores[same], scores[~same]


@pytest.mark.parametrize("block", [1, 7, 64, 5000])
@pytest.mark.parametrize("tail", [50, 10**6])
def test_any_block_size_gives_the_brute_force_scores(block, tail):
    embeddings, labels = make_tied_faces(70, 9)
    mated, non_mated = brute_force(embeddings, labels)
    found = all_pairs(embeddings, labels, block=block, tail=tail)
    assert np.array_equal(found.mated, np.sort(mated))
    assert found.non_mated == len(non_mated) == found.histogram.sum()
    assert np.array_equal(found.tail, np.sort(non_mated)[-tail:])


@pytest.mark.parametrize("tied", [False, True])
def test_tar_at_each_far_equals_scikit_learn(tied):
    embeddings, labels = make_tied_faces(400, 40) if tied else make_faces(400, 40)
    mated, non_mated = brute_force(embeddings, labels)
    truth = np.concatenate([np.ones(len(mated)), np.zeros(len(non_mated))])
    scores = np.concatenate([mated, non_mated])
    far, tar, _ = roc_curve(truth, scores, drop_intermediate=False)
    found = verify_all_pairs(embeddings, labels, fars=(0.3, 0.1, 0.03, 0.01, 1e-3))
    for point in found.points:
        best = far <= point.far
        assert point.tar == pytest.approx(tar[best].max(), abs=1e-9)
        assert point.far_measured == pytest.approx(far[best].max(), abs=1e-9)
        assert point.false_matches == np.sum(non_mated >= np.float32(point.threshold))
    assert found.auc == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)
    assert found.auc_error == 0
    crossing = np.argmin(np.abs(far - (1 - tar)))
    assert found.eer == pytest.approx((far[crossing] + 1 - tar[crossing]) / 2, abs=1e-9)


def test_a_short_tail_stays_cautious_and_says_how_exact_the_auc_is():
    embeddings, labels = make_faces(500, 50)
    exact = verify_all_pairs(embeddings, labels)
    coarse = verify_all_pairs(embeddings, labels, tail=200)
    assert coarse.point(1e-3) == exact.point(1e-3)  # inside the tail: exact
    for wide, narrow in zip(coarse.points[:2], exact.points[:2], strict=True):  # beyond it: the next bin edge
        assert 0 <= wide.threshold - narrow.threshold <= BIN
        assert wide.far_measured <= wide.far
    assert 0 < coarse.auc_error < 1e-4
    assert abs(coarse.auc - exact.auc) <= coarse.auc_error
    assert coarse.eer == pytest.approx(exact.eer, abs=1e-3)


def test_curves_are_exact_at_each_of_their_thresholds():
    embeddings, labels = make_faces(300, 30)
    mated, non_mated = brute_force(embeddings, labels)
    for tail in (100, 10**6):
        found = verify_all_pairs(embeddings, labels, tail=tail)
        assert np.all(np.diff(found.curve_threshold) > 0)
        for threshold, far, tar in zip(found.curve_threshold, found.curve_far, found.curve_tar, strict=True):
            assert far == pytest.approx(np.mean(non_mated >= np.float32(threshold)), abs=1e-9)
            assert tar == pytest.approx(np.mean(mated >= np.float32(threshold)), abs=1e-9)
        assert found.histogram_mated.sum() == found.mated
        assert found.histogram_non_mated.sum() == found.non_mated


finite = st.floats(-1, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=60), st.lists(finite, min_size=20, max_size=300), st.floats(0.001, 1))
def test_the_far_never_exceeds_its_target_and_thresholds_are_monotone(mated, non_mated, far):
    fars = sorted({far, 0.5, 0.9, 0.1}, reverse=True)
    found = verify_scores(np.array(mated), np.array(non_mated), fars=fars)
    known = [point for point in found.points if point.threshold is not None]
    for point in known:
        assert point.far_measured <= point.far
        lower = np.nextafter(np.float32(point.threshold), np.float32(-np.inf))
        assert point.far == 1 or np.mean(np.float32(non_mated) >= lower) > point.far  # the smallest such threshold
    assert np.all(np.diff([point.threshold for point in known]) >= 0)
    assert 0 <= found.auc <= 1
    assert 0 <= found.eer <= 1


def test_unsupported_rates_are_withheld_with_the_number_of_pairs_they_need():
    found = verify_scores(np.ones(5), np.linspace(-1, 0, 1000), fars=(1e-2, 9e-3))
    kept, withheld = found.points
    assert kept.tar == 1.0
    assert (withheld.threshold, withheld.tar, withheld.tar_interval, withheld.needs) == (None, None, None, 1112)


def test_the_hardest_pairs_are_named_by_their_rows():
    embeddings, labels = make_faces(120, 15)
    scores = embeddings @ embeddings.T
    found = all_pairs(embeddings, labels, block=33, hardest=5)
    same = labels[:, None] == labels[None]
    upper = np.triu(np.ones_like(same), 1)
    for pairs, mask, sign in ((found.hardest_non_mated, ~same & upper, -1), (found.hardest_mated, same & upper, 1)):
        expected = np.sort(sign * scores[mask])[:5] * sign
        assert [pair.score for pair in pairs] == pytest.approx(expected.tolist(), abs=1e-6)
        for pair in pairs:
            assert pair.i < pair.j
            assert mask[pair.i, pair.j]
            assert pair.score == pytest.approx(float(scores[pair.i, pair.j]), abs=1e-6)


def test_images_without_a_face_count_as_false_non_matches():
    embeddings, labels = make_faces(200, 20)
    plain = verify_all_pairs(embeddings, labels, fars=(0.1,))
    failed = verify_all_pairs(embeddings, labels, fars=(0.1,), mated_failures=plain.mated)
    assert failed.mated == 2 * plain.mated
    assert failed.points[0].tar == pytest.approx(plain.points[0].tar / 2)
    assert failed.points[0].threshold == plain.points[0].threshold
    assert failed.auc == pytest.approx(plain.auc / 2)
    explicit = verify_scores(np.array([0.9, -np.inf]), np.array([*np.linspace(-1, 0, 100), -np.inf]), fars=(0.1,))
    assert (explicit.mated, explicit.mated_failures, explicit.points[0].tar) == (2, 1, 0.5)
    assert explicit.non_mated == 100  # a face that was not found is no correct rejection


def test_bad_embeddings_are_named_by_their_row():
    embeddings, labels = make_faces(30, 5)
    broken = embeddings.copy()
    broken[17, 3] = np.nan
    with pytest.raises(VultusError, match="embedding 17 holds NaN"):
        verify_all_pairs(broken, labels)
    broken = embeddings.copy()
    broken[4] *= 2
    with pytest.raises(VultusError, match="embedding 4 has length 2, not 1"):
        verify_all_pairs(broken, labels)
    with pytest.raises(VultusError, match="do not belong together"):
        verify_all_pairs(embeddings, labels[:-1])


def test_sets_without_comparisons_say_so():
    embeddings, _ = make_faces(30, 5)
    with pytest.raises(VultusError, match="one identity only"):
        verify_all_pairs(embeddings, np.zeros(30, int))
    with pytest.raises(VultusError, match="no identity has two images"):
        verify_all_pairs(embeddings, np.arange(30))


def test_to_dict_is_json():
    embeddings, labels = make_faces(100, 10)
    found = verify_all_pairs(embeddings, labels)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["points"][0]["tar"] == found.points[0].tar
    assert plain["hardest_mated"][0]["i"] == found.hardest_mated[0].i
    assert len(plain["curve_far"]) == len(found.curve_far)


def test_cap_keeps_the_first_images_of_each_identity():
    labels = np.array([3, 1, 3, 3, 1, 7])
    assert cap_per_identity(labels, 2).tolist() == [0, 1, 2, 4, 5]
    assert cap_per_identity(labels, None).tolist() == list(range(6))
