"""One photograph filed under two people: a wrong label that every figure would count as a recogniser's mistake."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np

from vultus.data.dataset import FaceDataset


def shared_photographs(data: FaceDataset) -> list[tuple[int, ...]]:
    """Rows of the view whose crops are the same bytes, under more than one identity; one tuple a photograph.

    Only exact copies: the same file in two folders gives the same crop. A photograph saved again does not.
    """
    rows: dict[bytes, list[int]] = defaultdict(list)
    for start in range(0, len(data), 1024):
        chosen = range(start, min(start + 1024, len(data)))
        for row, content in zip(chosen, data.encoded(chosen), strict=True):
            rows[hashlib.sha256(content).digest()].append(row)
    labels = data.labels
    return [tuple(same) for same in rows.values() if len(np.unique(labels[same])) > 1]
