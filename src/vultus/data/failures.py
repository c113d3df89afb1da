"""Photographs of the data in which no face was found: to a user of the recogniser they are people not recognised."""

from __future__ import annotations

from collections import Counter

import numpy as np

from vultus.data.dataset import FaceDataset
from vultus.formats import read_table

SKIPPED = "skipped.csv"
"""Photographs that gave no crop: path, identity, reason."""

NO_FACE = "no face found"
"""The reason that counts: a file that cannot be read is no failure of the recogniser."""


def photographs_without_face(data: FaceDataset) -> np.ndarray:
    """(I,) int64: how many photographs of each identity of the view showed no face to the detector.

    A view that keeps only some of a person's crops gets as large a share of the photographs without a face.
    """
    found = _without_face(data)
    counts = np.array([found[name] for name in data.identities], np.int64)
    return np.round(counts * data.counts / data.counts_in_whole).astype(np.int64) if counts.any() else counts


def never_found(data: FaceDataset) -> tuple[int, int]:
    """(people, photographs) of whom no photograph showed a face: they are in no view, and in no figure.

    `data` holds everybody of the dataset; in a split, people of other splits would pass for such.
    """
    there = set(data.identities)
    gone = [count for name, count in _without_face(data).items() if name and name not in there]
    return len(gone), sum(gone)


def _without_face(data: FaceDataset) -> Counter[str]:
    path = data.root / SKIPPED
    if not path.is_file():
        return Counter()
    rows = read_table(path, ("identity", "reason"))
    return Counter(row["identity"] for _, row in rows if row["reason"] == NO_FACE)


def lost_comparisons(data: FaceDataset) -> np.ndarray:
    """(I,) int64: mated comparisons of each identity that these photographs take away.

    With n crops and f photographs without a face a person has n f + f (f - 1) / 2 of them. They count as false
    non-matches (failure to acquire, ISO/IEC 19795-1); the comparisons with other people count nowhere, since nobody
    was rejected.
    """
    found, failed = data.counts, photographs_without_face(data)
    return found * failed + failed * (failed - 1) // 2
