"""Measure a recogniser on a published list of pairs with its folds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.evaluation import Pairs, kfold_accuracy, parse_pairs
from vultus.workflows.embedder import Embedder
from vultus.workflows.results import PairsEvaluation

MISSING = 0.02
"""Share of pairs whose images may be missing (no face was found in them); they count as "different"."""


def evaluate_pairs(
    embedder: Embedder, data: FaceDataset, path: str | Path, *, notes: tuple[str, ...] = ()
) -> PairsEvaluation:
    """k-fold accuracy over the pairs that the file lists, with the crops of `data`."""
    pairs = parse_pairs(path)
    first, second = _rows_of(pairs, data)
    missing = (first < 0) | (second < 0)
    if missing.mean() > MISSING:
        raise VultusError(
            f"{missing.sum():,} of the {len(pairs):,} pairs of {path} name an image that is not in {data.title}; "
            "give the whole dataset, or the pairs file of this data"
        )
    used = np.unique(np.concatenate([first[~missing], second[~missing]]))
    embeddings = embedder.dataset(data.subset(used))
    place = np.full(len(data), -1)
    place[used] = np.arange(len(used))
    scores = np.full(len(pairs), -np.inf)
    left, right = embeddings[place[first[~missing]]], embeddings[place[second[~missing]]]
    scores[~missing] = np.einsum("nd,nd->n", left, right)
    result = kfold_accuracy(scores, pairs.same, pairs.folds)
    return PairsEvaluation(embedder.name, data.title, result, int(missing.sum()), notes)


def _rows_of(pairs: Pairs, data: FaceDataset) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the view of each pair's two images, -1 where an image is not there."""
    if pairs.paths:
        by_source = {Path(source).as_posix(): row for row, source in enumerate(data.sources)}
        rows = [[by_source.get(Path(p).as_posix(), -1) for p in pair] for pair in pairs.paths]
    else:
        by_number: dict[tuple[str, int], int] = {}
        for row, source in enumerate(data.sources):
            if digits := re.search(r"(\d+)$", Path(source).stem):
                by_number[data.identities[data.labels[row]], int(digits[1])] = row
        rows = [
            [by_number.get((name, number), -1) for name, number in zip(names, numbers, strict=True)]
            for names, numbers in zip(pairs.names, pairs.numbers, strict=True)
        ]
    table = np.asarray(rows, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
