"""Data order and augmentation: a function of seed, epoch and step alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus.data import Augmentation, Batches, FaceDataset, IdentityBatches, epoch_order
from vultus.data.order import identity_order
from vultus.errors import VultusError

EVERYTHING = Augmentation(
    flip=0.5,
    shift=0.5,
    crop=0.5,
    low_resolution=0.5,
    blur=0.5,
    color=0.5,
    grey=0.2,
    erase=0.5,
    mask=0.3,
    low_quality=0.3,
)


def test_a_batch_depends_on_its_number_only(procedural: Path) -> None:
    data = FaceDataset.open(procedural / "train")
    one, other = (Batches(data, 16, EVERYTHING, seed=5) for _ in range(2))
    wanted = one[17]
    for number in (3, 40, 0):
        other[number]
    again = other[17]
    np.testing.assert_array_equal(wanted[0], again[0])
    np.testing.assert_array_equal(wanted[1], again[1])
    assert not np.array_equal(Batches(data, 16, EVERYTHING, seed=6)[17][1], wanted[1])


def test_an_epoch_shows_each_crop_at_most_once(procedural: Path) -> None:
    data = FaceDataset.open(procedural / "train")
    batches = Batches(data, 32, Augmentation(flip=0), seed=0)
    assert batches.per_epoch == len(data) // 32
    crops = np.concatenate([batches[i][0] for i in range(batches.per_epoch)])
    assert len(np.unique(crops.reshape(len(crops), -1), axis=0)) == len(crops)
    assert sorted(epoch_order(50, 0, 1)) == list(range(50))
    assert not np.array_equal(epoch_order(50, 0, 1), epoch_order(50, 0, 2))


def test_labels_go_with_their_crops(procedural: Path) -> None:
    data = FaceDataset.open(procedural / "train")
    crops, labels, rows = Batches(data, 8, Augmentation(flip=0), seed=0)[2]
    everything = data.crops()
    for crop, label in zip(crops, labels, strict=True):
        row = int(np.flatnonzero((everything == crop).all(axis=(1, 2, 3)))[0])
        assert data.labels[row] == label
    np.testing.assert_array_equal(everything[rows], crops)


def uneven(procedural: Path, *counts: int) -> FaceDataset:
    """A view with these many images of its first identities, its rows in no order."""
    data = FaceDataset.open(procedural / "train")
    rows = np.concatenate([np.flatnonzero(data.labels == i)[:count] for i, count in enumerate(counts)])
    return data.subset(np.random.default_rng(0).permutation(rows))


def by_identity(data: FaceDataset, images: int, size: int, walks: int, **options: int) -> tuple[IdentityBatches, list]:
    """The batches of `size` rows or fewer with `images` of an identity, and the rows of `walks` walks of them."""
    batches = IdentityBatches(data, size, images, Augmentation(flip=0), seed=options.get("seed", 0))
    count = walks * len(data.identities) // batches.identities_per_batch
    return batches, [batches.rows(number) for number in range(count)]


def test_a_run_of_batches_is_unchanged(procedural: Path) -> None:
    """A resumed run of an earlier version would see other batches if these streams changed."""
    data = FaceDataset.open(procedural / "train")
    order = np.random.default_rng((5, 2, 0)).permutation(len(data))
    random, augmentation = np.random.default_rng((5, 2, 1, 3)), EVERYTHING
    crops, labels, _ = Batches(data, 16, augmentation, seed=5)[2 * (len(data) // 16) + 3]
    rows = order[48:64]
    np.testing.assert_array_equal(labels, data.labels[rows])
    np.testing.assert_array_equal(crops, [augmentation(data.crop(int(row)), random) for row in rows])


def test_a_batch_by_identity_depends_on_its_number_only(procedural: Path) -> None:
    data = FaceDataset.open(procedural / "train")
    one, other = (IdentityBatches(data, 16, 4, EVERYTHING, seed=5) for _ in range(2))
    wanted = [one[number] for number in range(9)]
    for number in (7, 300, 2, 8, 5):
        crops, labels, _ = other[number]
        if number < len(wanted):
            np.testing.assert_array_equal(crops, wanted[number][0])
            np.testing.assert_array_equal(labels, wanted[number][1])
    assert not np.array_equal(IdentityBatches(data, 16, 4, EVERYTHING, seed=6).rows(7), one.rows(7))


def test_crops_and_labels_by_identity_are_those_of_the_rows(procedural: Path) -> None:
    data = FaceDataset.open(procedural / "train")
    batches = IdentityBatches(data, 16, 4, Augmentation(flip=0), seed=1)
    crops, labels, rows = batches[11]
    np.testing.assert_array_equal(rows, batches.rows(11))
    assert crops.shape == (16, 112, 112, 3) and crops.dtype == np.uint8
    assert labels.shape == (16,) and labels.dtype == np.int64
    np.testing.assert_array_equal(crops, data.crops(rows))
    np.testing.assert_array_equal(labels, data.labels[rows])


@pytest.mark.parametrize("size", [4, 6, 14, 26, 38, 40])  # 2 to 20 identities: walks end within batches
def test_no_identity_or_image_is_in_a_batch_twice(procedural: Path, size: int) -> None:
    data = FaceDataset.open(procedural / "train")
    assert len(data.identities) == 20
    _, taken = by_identity(data, 2, size, walks=60)
    for rows in taken:
        assert len(np.unique(rows)) == size
        assert np.bincount(data.labels[rows]).max() == 2


@pytest.mark.parametrize(("identities", "together"), [(5, 2), (5, 3), (5, 4), (5, 5), (7, 6), (8, 6), (30, 7), (13, 7)])
def test_every_walk_shows_every_identity_and_no_batch_repeats_one(identities: int, together: int) -> None:
    walks = [identity_order(identities, together, 0, walk) for walk in range(3 * together)]
    for order in walks:
        assert sorted(order) == list(range(identities))
    endless = np.concatenate(walks)
    for batch in np.split(endless, len(endless) // together):
        assert len(set(batch)) == together
    shuffled = np.random.default_rng(1).permutation(len(walks))
    for walk in shuffled:
        np.testing.assert_array_equal(identity_order(identities, together, 0, int(walk)), walks[walk])
    assert len({tuple(order) for order in walks}) > together  # they are drawn anew


def test_identities_are_shown_equally_often(procedural: Path) -> None:
    data = uneven(procedural, 6, 1, 3, 2, 6, 5, 1)
    _, taken = by_identity(data, 2, 6, walks=10)
    seen = np.zeros(7, np.int64)
    for number, rows in enumerate(taken):
        seen[np.unique(data.labels[rows])] += 1
        assert seen.sum() == 3 * (number + 1)
        assert seen.max() - seen.min() <= 1


def test_a_cycle_shows_groups_without_repeating_an_image(procedural: Path) -> None:
    data = uneven(procedural, 6, 5, 4, 3, 2, 1)
    batches, taken = by_identity(data, 2, 4, walks=60)
    shown = {identity: [rows[data.labels[rows] == identity] for rows in taken] for identity in range(6)}
    for identity, count in enumerate(data.counts):
        groups = [group for group in shown[identity] if len(group)]
        assert {len(group) for group in groups} == {min(2, count)}
        cycle = max(1, count // 2)
        for start in range(0, len(groups) - cycle + 1, cycle):
            images = np.concatenate(groups[start : start + cycle])
            assert len(np.unique(images)) == len(images)
        assert len(np.unique(np.concatenate(groups))) == count  # in the end all were shown
    assert len({len(rows) for rows in taken}) > 1  # the identity with one image makes its batches smaller
    assert batches.per_epoch == round(21 / (2 * 11 / 6))


def test_identities_of_one_image_each(procedural: Path) -> None:
    data = uneven(procedural, 1, 1, 1)
    batches, taken = by_identity(data, 4, 8, walks=4)
    assert batches.per_epoch == 2
    assert all(len(rows) == 2 for rows in taken)
    assert batches[3][0].shape == (2, 112, 112, 3)


def test_fewer_identities_than_a_batch_wants(procedural: Path) -> None:
    data = uneven(procedural, 6, 6, 6)
    batches, taken = by_identity(data, 2, 100, walks=5)
    assert batches.identities_per_batch == 3 and batches.per_epoch == 3
    assert all(len(rows) == 6 for rows in taken)


def test_batches_by_identity_need_two_identities(procedural: Path) -> None:
    data = FaceDataset.open(procedural / "train")
    with pytest.raises(VultusError, match=r"batch_size=7 with images_per_identity=4: .* at least 8"):
        IdentityBatches(data, 7, 4, EVERYTHING, seed=0)
    with pytest.raises(VultusError, match="images_per_identity=0"):
        IdentityBatches(data, 7, 0, EVERYTHING, seed=0)
    with pytest.raises(VultusError, match="has 1 identity"):
        IdentityBatches(uneven(procedural, 6), 8, 4, EVERYTHING, seed=0)


@pytest.mark.parametrize(
    "name", ["flip", "shift", "crop", "low_resolution", "blur", "color", "grey", "erase", "mask", "low_quality"]
)
def test_each_operation_changes_the_crop_and_keeps_its_form(name: str) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    before = crop.copy()
    changed = Augmentation(**{"flip": 0.0, name: 1.0})(crop, np.random.default_rng(1))
    assert changed.shape == crop.shape and changed.dtype == np.uint8
    assert not np.array_equal(changed, crop)
    np.testing.assert_array_equal(crop, before)  # in place would spoil the data


def test_nothing_asked_nothing_done() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    np.testing.assert_array_equal(Augmentation(flip=0)(crop, np.random.default_rng(0)), crop)


def test_a_probability_is_one() -> None:
    with pytest.raises(VultusError, match=r"augment\.blur"):
        Augmentation(blur=2)
