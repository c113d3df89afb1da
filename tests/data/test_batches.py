"""Data order and augmentation: a function of seed, epoch and step alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus.data import Augmentation, Batches, FaceDataset, epoch_order
from vultus.errors import VultusError

EVERYTHING = Augmentation(flip=0.5, shift=0.5, crop=0.5, low_resolution=0.5, blur=0.5, color=0.5, grey=0.2, erase=0.5)


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
    crops, labels = Batches(data, 8, Augmentation(flip=0), seed=0)[2]
    everything = data.crops()
    for crop, label in zip(crops, labels, strict=True):
        row = int(np.flatnonzero((everything == crop).all(axis=(1, 2, 3)))[0])
        assert data.labels[row] == label


@pytest.mark.parametrize("name", ["flip", "shift", "crop", "low_resolution", "blur", "color", "grey", "erase"])
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
