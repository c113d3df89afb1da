"""All pairs against a plain double loop, whatever the tiles, the threads, the order of the images or the device."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import VultusError
from vultus.evaluation.scores import BIN, BINS, PairScores, all_pairs, two_sets, walk


def tied_faces(images: int, identities: int, seed: int = 0):
    """Unit rows with four entries of +-0.5: every score is a multiple of 0.25 in float32, and almost all are ties."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((images, 12), np.float32)
    for row in rows:
        row[rng.choice(12, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return rows, rng.integers(0, identities, images)


def untied_faces(images: int, identities: int, seed: int = 0):
    """Entries are multiples of 2^-11, so that a dot product is exact in float32 in any order of summation."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, identities, images)
    rows = rng.normal(size=(identities, 24))[labels] + rng.normal(size=(images, 24))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (np.round(rows * 2**11) / 2**11).astype(np.float32), labels


def double_loop(rows, columns, row_labels, column_labels, ordered: bool):
    """(score, row, column) of the mated and of the non-mated comparisons."""
    mated, others = [], []
    for i in range(len(rows)):
        for j in range(len(columns)):
            if i == j or (not ordered and j < i):
                continue
            score = np.float32(np.clip(np.dot(rows[i].astype(np.float64), columns[j].astype(np.float64)), -1, 1))
            (mated if row_labels[i] == column_labels[j] else others).append((score, i, j))
    return mated, others


def assert_equals_loop(found: PairScores, labels, mated, others, tail: int):
    codes = np.unique(labels, return_inverse=True)[1]
    scores = np.array([score for score, _, _ in mated], np.float32)
    assert np.array_equal(found.mated, np.sort(scores))
    assert found.mated_identity is not None and found.tail_identities is not None
    truth = sorted((float(score), int(codes[i])) for score, i, _ in mated)
    assert sorted(zip(found.mated.tolist(), found.mated_identity.tolist(), strict=True)) == truth
    scores = np.array([score for score, _, _ in others], np.float32)
    assert found.non_mated == len(others)
    assert np.array_equal(found.tail, np.sort(scores)[len(others) - min(tail, len(others)) :])
    numbers = np.floor(scores.astype(np.float64) / BIN).astype(int) + 2**16
    assert np.array_equal(found.histogram, np.bincount(numbers, minlength=BINS))
    # Of the scores above the least of the tail all are kept, so their identities are known; of the ties with it some.
    truth = sorted((float(score), *sorted((int(codes[i]), int(codes[j])))) for score, i, j in others)
    kept = [
        (score, *sorted(pair)) for score, pair in zip(found.tail.tolist(), found.tail_identities.tolist(), strict=True)
    ]
    least = found.tail[0] if len(found.tail) else 2
    assert sorted(item for item in kept if item[0] > least) == [item for item in truth if item[0] > least]
    assert all(item in set(truth) for item in kept)


@pytest.mark.parametrize("faces", [tied_faces, untied_faces])
@pytest.mark.parametrize("block", [1, 7, 32, 5000])
@pytest.mark.parametrize(("tail", "threads"), [(0, 1), (50, 2), (50, 3), (10**6, 2)])
def test_all_pairs_equal_a_double_loop(faces, block, tail, threads):
    rows, labels = faces(40, 6)
    found = all_pairs(rows, labels, block=block, tail=tail, threads=threads)
    assert_equals_loop(found, labels, *double_loop(rows, rows, labels, labels, ordered=False), tail)
    assert found.comparisons is not None and found.mated_identity is not None
    assert np.array_equal(found.comparisons.mated, np.bincount(found.mated_identity, minlength=6))
    assert found.comparisons.non_mated.sum() == 2 * found.non_mated


@pytest.mark.parametrize("block", [5, 16, 5000])
def test_every_enrolled_image_with_every_probe(block):
    rows, labels = untied_faces(90, 8)
    enrolled, probes, mine, theirs = rows[:35], rows[35:], labels[:35], labels[35:]
    found = two_sets(enrolled, mine, probes, theirs, block=block, tail=60)
    together = np.concatenate([mine, theirs])
    mated = [(enrolled[i] @ probes[j], i, j) for i in range(35) for j in range(55) if mine[i] == theirs[j]]
    others = [(enrolled[i] @ probes[j], i, 35 + j) for i in range(35) for j in range(55) if mine[i] != theirs[j]]
    assert_equals_loop(found, together, mated, others, 60)
    assert found.comparisons is not None and found.mated_identity is not None
    assert np.array_equal(found.comparisons.mated, np.bincount(found.mated_identity, minlength=8))
    assert found.comparisons.non_mated.sum() == 2 * found.non_mated == 2 * len(others)
    for pair in found.hardest_non_mated:  # i is a row of the gallery, j one of the probes, whichever is the larger
        assert pair.score == pytest.approx(float(enrolled[pair.i] @ probes[pair.j]), abs=1e-6)
        assert mine[pair.i] != theirs[pair.j]


@pytest.mark.parametrize("block", [5, 16, 5000])
def test_the_same_images_in_two_sets_are_not_compared_with_themselves(block):
    rows, labels = untied_faces(40, 6)
    others = untied_faces(40, 6, seed=1)[0]
    found = two_sets(rows, labels, others, labels, same_images=True, block=block, tail=60)
    assert_equals_loop(found, labels, *double_loop(rows, others, labels, labels, ordered=True), 60)
    assert found.comparisons is not None and found.mated_identity is not None
    assert np.array_equal(found.comparisons.mated, np.bincount(found.mated_identity, minlength=6))


def test_two_sets_that_do_not_belong_together():
    rows, labels = untied_faces(20, 4)
    with pytest.raises(VultusError, match="24 and of 12 dimensions cannot be compared"):
        two_sets(rows, labels, *tied_faces(20, 4))
    with pytest.raises(VultusError, match="cannot be the same images"):
        two_sets(rows, labels, rows, labels + 1, same_images=True)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 40), st.integers(1, 12), st.integers(0, 200), st.integers(3, 50), st.integers(1, 3), st.booleans()
)
def test_counts_are_exact_at_every_threshold(images, identities, tail, block, threads, tied):
    rows, labels = tied_faces(images, identities) if tied else untied_faces(images, identities)
    found = all_pairs(rows, labels, tail=tail, block=block, threads=threads)
    mated, others = double_loop(rows, rows, labels, labels, ordered=False)
    scores = np.array([score for score, _, _ in others], np.float32)
    for threshold in np.linspace(-1, 1, 41):
        snapped = found.snap(threshold)
        assert 0 <= snapped - threshold <= BIN
        assert found.false_matches(snapped) == np.sum(scores >= np.float32(snapped))
        misses = sum(score < np.float32(threshold) for score, _, _ in mated)
        assert found.false_non_matches(threshold) == misses


def test_threads_and_the_size_of_tiles_do_not_change_a_bit():
    rows, labels = untied_faces(600, 30)
    first = all_pairs(rows, labels, threads=1, block=100, tail=500)
    for threads in (2, 4):
        again = all_pairs(rows, labels, threads=threads, block=100, tail=500)
        for name in ("mated", "mated_identity", "tail", "tail_identities", "histogram"):
            assert np.array_equal(getattr(first, name), getattr(again, name)), name
        assert first.hardest_mated == again.hardest_mated and first.hardest_non_mated == again.hardest_non_mated
    coarse = all_pairs(rows, labels, threads=2, block=333, tail=500)
    assert np.array_equal(first.tail, coarse.tail) and np.array_equal(first.histogram, coarse.histogram)


def test_a_sample_that_misleads_costs_time_and_no_score(monkeypatch):
    rows, labels = untied_faces(120, 10)
    honest = all_pairs(rows, labels, tail=300, block=32)
    monkeypatch.setattr(walk, "_floor", lambda layout, keep: 0.99)  # nothing is that large
    misled = all_pairs(rows, labels, tail=300, block=32)
    assert np.array_equal(misled.tail, honest.tail)
    assert np.array_equal(misled.mated, honest.mated) and misled.non_mated == honest.non_mated


def test_a_long_tail_of_one_score_keeps_the_first_comers():
    # 60 equal rows of 60 people: 1,770 comparisons score exactly 1, and 40 of them fit.
    rows = np.zeros((60, 4), np.float32)
    rows[:, 0] = 1
    found = all_pairs(rows, np.arange(60), tail=40, block=8, hardest=3)
    assert np.array_equal(found.tail, np.ones(40, np.float32))
    assert found.histogram[-1] == found.non_mated == 1770
    assert found.threshold(0) > 1
    assert [pair[:2] for pair in found.hardest_non_mated] == [(0, 1), (0, 2), (0, 3)]


def test_scores_that_rounding_puts_beyond_one_are_clipped():
    rows = np.array([[1.0009, 0], [1.0009, 0], [-1.0009, 0]], np.float32)
    found = all_pairs(rows, np.array([0, 1, 2]))
    assert found.tail.tolist() == [-1, -1, 1]
    assert (found.histogram[0], found.histogram[-1]) == (2, 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_embeddings_may_lie_in_a_file(tmp_path, dtype):
    rows, labels = tied_faces(150, 12)  # of 0 and +-0.5: exact in float16
    stored = np.memmap(tmp_path / "rows.bin", dtype=dtype, mode="w+", shape=rows.shape)
    stored[:] = rows
    stored.flush()
    opened = np.memmap(tmp_path / "rows.bin", dtype=dtype, mode="r", shape=rows.shape)
    found, plain = all_pairs(opened, labels, block=40), all_pairs(rows, labels, block=40)
    assert np.array_equal(found.tail, plain.tail) and np.array_equal(found.mated, plain.mated)


def test_failures_by_identity_are_mated_comparisons_of_that_identity():
    rows, labels = untied_faces(50, 5)
    lost = np.array([3, 0, 0, 1, 0])
    found = all_pairs(rows, labels, mated_failures=lost)
    plain = all_pairs(rows, labels)
    assert found.mated_failures == 4 and found.failures is not None
    assert np.array_equal(found.failures, lost)
    assert found.comparisons is not None and plain.comparisons is not None
    assert np.array_equal(found.comparisons.mated, plain.comparisons.mated + lost)
    assert np.array_equal(found.comparisons.non_mated, plain.comparisons.non_mated)
    in_all = all_pairs(rows, labels, mated_failures=4)
    assert in_all.mated_failures == 4 and in_all.mated_identity is None and in_all.failures is None
    with pytest.raises(VultusError, match="a count for each of the 5 identities"):
        all_pairs(rows, labels, mated_failures=lost[:3])
    with pytest.raises(VultusError, match="-1 is no number of comparisons"):
        all_pairs(rows, labels, mated_failures=-1)


def test_no_image_and_one_image_have_no_comparison():
    for images in (0, 1):
        found = all_pairs(np.ones((images, 1), np.float32), np.zeros(images, int))
        assert (found.mated_comparisons, found.non_mated, len(found.tail)) == (0, 0, 0)


def test_bad_rows_are_named_wherever_they_lie():
    rows, labels = untied_faces(60, 5)
    rows[41, 3] = np.nan
    with pytest.raises(VultusError, match="embedding 41 holds NaN"):
        all_pairs(rows, labels)
    rows[41, 3] = 0
    with pytest.raises(VultusError, match="embedding 41 has length"):
        two_sets(rows[:10], labels[:10], rows, labels)
    with pytest.raises(VultusError, match="at least one row"):
        all_pairs(*tied_faces(5, 2), block=0)


@pytest.mark.parametrize("faces", [tied_faces, untied_faces])
@pytest.mark.parametrize("block", [32, 5000])
def test_torch_gives_the_same_scores(faces, block):
    pytest.importorskip("torch")
    rows, labels = faces(150, 12)
    numpy, torch = (all_pairs(rows, labels, block=block, tail=700, device=device) for device in (None, "cpu"))
    for name in ("mated", "tail", "histogram", "non_mated"):
        assert np.array_equal(getattr(numpy, name), getattr(torch, name)), name
    assert_equals_loop(torch, labels, *double_loop(rows, rows, labels, labels, ordered=False), 700)
    cross = [two_sets(rows, labels, rows, labels, same_images=True, block=block, device=d) for d in (None, "cpu")]
    assert np.array_equal(cross[0].tail, cross[1].tail) and np.array_equal(cross[0].mated, cross[1].mated)


def test_a_device_that_is_not_there():
    torch = pytest.importorskip("torch")
    rows, labels = tied_faces(10, 3)
    with pytest.raises(VultusError, match="torch knows no such device"):
        all_pairs(rows, labels, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(VultusError, match="torch sees no GPU here"):
            all_pairs(rows, labels, device="cuda")
