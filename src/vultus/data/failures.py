"""Photographs of the data in which no face was found: to a user of the recogniser they are people not recognised."""

from __future__ import annotations

import csv

import numpy as np

from vultus.data.dataset import FaceDataset

SKIPPED = "skipped.csv"
"""Photographs that gave no crop: path, identity, reason."""

NO_FACE = "no face found"
"""The reason that counts: a file that cannot be read is no failure of the recogniser."""


def photographs_without_face(data: FaceDataset) -> np.ndarray:
    """(I,) int64: how many photographs of each identity of the view showed no face to the detector."""
    counts = np.zeros(len(data.identities), np.int64)
    path = data.root / SKIPPED
    if not path.is_file():
        return counts
    place = {name: label for label, name in enumerate(data.identities)}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            label = place.get(row.get("identity") or "")
            if label is not None and row.get("reason") == NO_FACE:
                counts[label] += 1
    return counts


def lost_comparisons(data: FaceDataset) -> np.ndarray:
    """(I,) int64: mated comparisons of each identity that these photographs take away.

    With n crops and f photographs without a face a person has n f + f (f - 1) / 2 of them. They count as false
    non-matches (failure to acquire, ISO/IEC 19795-1); the comparisons with other people count nowhere, since nobody
    was rejected.
    """
    found, failed = data.counts, photographs_without_face(data)
    return found * failed + failed * (failed - 1) // 2
