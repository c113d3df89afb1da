"""Measure a recogniser on published pairs: a list of a dataset's images, or one of InsightFace's .bin sets."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from vultus.data import FaceDataset
from vultus.data.failures import NO_FACE, SKIPPED
from vultus.errors import VultusError
from vultus.evaluation import Pairs, Verification, kfold_accuracy, parse_pairs
from vultus.evaluation.protocols.listed import joined, verify_list
from vultus.evaluation.protocols.pair_quality import QualityBin, by_quality, read_quality, worse_quality
from vultus.evaluation.protocols.verification_sets import PUBLISHED, VerificationSet, read_verification_set
from vultus.formats import read_table
from vultus.terminal import track
from vultus.workflows.embedder import BATCH, Embedder
from vultus.workflows.results import PairsEvaluation

MISSING = 0.5
"""Share of pairs of unknown images from which on the list is taken for one of other data."""


def evaluate_pairs(
    embedder: Embedder,
    data: FaceDataset,
    path: str | Path,
    *,
    quality: str | Path | None = None,
    bins: int | Sequence[float] = 3,
    notes: tuple[str, ...] = (),
    unsupported: bool = False,
) -> PairsEvaluation:
    """Accuracy over the folds of a list of pairs (see `parse_pairs`) and the rates of the same scores.

    unsupported: also the rates that are withheld.
    quality: a file with a number for each image (`read_quality`); then also the figures by the worse image of a pair,
    in `bins` bins of about equal size or at these inner edges.
    A pair with a photograph in which no face was found is a failure to acquire: of one person it fails, of two it is
    rejected; a note says how many there are.
    Raises VultusError for a list that is not of this data, or that compares an image with itself.
    """
    pairs = parse_pairs(path)
    first, second = rows_of(pairs, data)
    missing = (first < 0) | (second < 0)
    notes += _failures(pairs, data, first, second, path)
    if (alone := ~missing & (first == second)).any():
        raise VultusError(f"{path}: pair {int(alone.argmax()) + 1} compares an image with itself")
    worse = None if quality is None else worse_quality(pairs, read_quality(quality))
    used = np.unique(np.concatenate([first[~missing], second[~missing]]))
    embeddings = embedder.dataset(data.subset(used))
    place = np.full(len(data), -1)
    place[used] = np.arange(len(used))
    scores = np.full(len(pairs), -np.inf)
    left, right = embeddings[place[first[~missing]]], embeddings[place[second[~missing]]]
    scores[~missing] = np.einsum("nd,nd->n", left, right)
    identities, contradictions = _whose(pairs, data, first, second)
    if contradictions:
        notes += (f"{contradictions:,} pairs contradict the identities of {data.title}: whose they are is not used.",)
    if twice := len(pairs) - len(np.unique(np.sort(np.stack([first, second], 1)[~missing], 1), axis=0)) - missing.sum():
        notes += (f"{twice:,} pairs are listed more than once.",)
    return _measure(
        embedder.name, data.title, pairs, pairs.folds, scores, identities, notes, len(used), unsupported, worse, bins
    )


def _failures(
    pairs: Pairs, data: FaceDataset, first: np.ndarray, second: np.ndarray, path: str | Path
) -> tuple[str, ...]:
    """What to say of the pairs whose images have no crop; VultusError where it is for want of the right data."""
    missing = (first < 0) | (second < 0)
    if not missing.any():
        return ()
    if data.name is not None:
        whole = rows_of(pairs, FaceDataset.open(data.root))
        if elsewhere := int((((first < 0) & (whole[0] >= 0)) | ((second < 0) & (whole[1] >= 0))).sum()):
            raise VultusError(
                f"{elsewhere:,} of the {len(pairs):,} pairs of {path} name an image of {data.root} that is not in its "
                f"split {data.name}; give the whole dataset, {data.root}"
            )
    unknown = missing & ~_without_face(pairs, data, first, second)
    if unknown.mean() > MISSING:
        raise VultusError(
            f"{unknown.sum():,} of the {len(pairs):,} pairs of {path} name an image that is not in {data.title}, such "
            f"as {_shown(pairs, int(unknown.argmax()))}; give the data that the list is of, or the list of this data"
        )
    mated = int((missing & pairs.same).sum())
    note = (
        f"{missing.sum():,} of the {len(pairs):,} pairs have a photograph without a face (failure to acquire): "
        f"{mated:,} of one person fail, {missing.sum() - mated:,} of two people are rejected (and in no FAR)."
    )
    if unknown.any():
        note += (
            f" Of {unknown.sum():,} of them nothing is known in {data.title}, such as "
            f"{_shown(pairs, int(unknown.argmax()))}: is the data complete?"
        )
    return (note,)


def _without_face(pairs: Pairs, data: FaceDataset, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P,) bool: whether each image of the pair that has no crop is listed as a photograph without a face."""
    listed = data.root / SKIPPED
    rows = [row for _, row in read_table(listed, ("path", "identity", "reason"))] if listed.is_file() else []
    rows = [row for row in rows if row["reason"] == NO_FACE]
    if pairs.paths:
        wanted = {path for pair in pairs.paths for path in pair}
        known: set[object] = set(match_paths([row["path"] for row in rows], wanted))
        images = [list(pair) for pair in pairs.paths]
    else:
        numbers = ((row["identity"], re.search(r"(\d+)$", Path(row["path"]).stem)) for row in rows)
        known = {(name, int(digits[1])) for name, digits in numbers if digits}
        images = [list(zip(n, k, strict=True)) for n, k in zip(pairs.names, pairs.numbers, strict=True)]
    told = np.array([[image in known for image in pair] for pair in images])
    return ((first >= 0) | told[:, 0]) & ((second >= 0) | told[:, 1])


def _shown(pairs: Pairs, index: int) -> str:
    if pairs.paths:
        return " and ".join(pairs.paths[index])
    return " and ".join(
        f"{name} {number}" for name, number in zip(pairs.names[index], pairs.numbers[index], strict=True)
    )


def evaluate_set(
    embedder: Embedder, path: str | Path, *, folds: int = 10, unsupported: bool = False
) -> PairsEvaluation:
    """The same of an InsightFace `.bin` set (`read_verification_set`), whose crops are embedded as they are.

    Whether the mirror image is added says the recogniser's contract, not the set.
    """
    found = read_verification_set(path)
    require_both(found.same, str(path))
    starts = range(0, len(found.encoded), BATCH)
    embeddings = np.concatenate(
        [
            embedder.embed(found.crops(range(start, min(start + BATCH, len(found.encoded)))))
            for start in track(starts, f"embed {found.name}")
        ]
    )
    scores = np.einsum("nd,nd->n", embeddings[::2], embeddings[1::2])
    identities, notes = found.identities(), ()
    if identities is None:
        notes += ("A non-mated pair is of images that mated pairs join: whose they are is not used.",)
    else:
        notes += ("The file names nobody: people are joined by mated pairs and equal images only.",)
    published = PUBLISHED.get(Path(path).stem)
    if published is not None and published != len(found):
        notes += (f"The published {Path(path).stem} has {published:,} pairs, this file {len(found):,}.",)
    return _measure(
        embedder.name, found.name, found, found.folds(folds), scores, identities, notes, len(embeddings), unsupported
    )


def _measure(
    model: str,
    dataset: str,
    pairs: Pairs | VerificationSet,
    folds: np.ndarray,
    scores: np.ndarray,
    identities: np.ndarray | None,
    notes: tuple[str, ...],
    images: int,
    unsupported: bool,
    worse: np.ndarray | None = None,
    bins: int | Sequence[float] = 3,
) -> PairsEvaluation:
    require_both(pairs.same, dataset)
    result = kfold_accuracy(scores, pairs.same, folds, identities)
    verification = verify_list(scores, pairs.same, identities, images=images, unsupported=unsupported)
    if result.shared:
        notes += (f"{result.shared:,} people are in more than one fold: thresholds saw people they are judged on.",)
    if identities is None:
        notes += ("Whose images they are is not known: intervals take pairs for independent and are too narrow.",)
    parts: tuple[QualityBin, ...] = ()
    far = None
    if worse is not None:
        far, threshold = _lowest_supported(verification)
        parts = by_quality(worse, scores, pairs.same, result.right, threshold, identities, bins)
    missing = int(np.isneginf(scores).sum())
    return PairsEvaluation(model, dataset, result, missing, verification, parts, far, notes)


def require_both(same: np.ndarray, name: str) -> None:
    """VultusError where there are only mated or only non-mated pairs: any threshold would be right."""
    if same.all() or not same.any():
        kind = "mated" if same.any() else "non-mated"
        raise VultusError(f"{name} holds {kind} pairs only: nothing shows how they differ from others; give both kinds")


def _lowest_supported(verification: Verification) -> tuple[float, float]:
    """(FAR, threshold) of the lowest FAR that the list supports."""
    for point in reversed(verification.points):
        if point.threshold is not None:
            return point.far, point.threshold
    raise VultusError(f"{verification.non_mated} non-mated pairs support no threshold to compare qualities at")


def _whose(pairs: Pairs, data: FaceDataset, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray | None, int]:
    """((P, 2) codes of identities or None, pairs whose label contradicts the dataset).

    The list's own names, else the dataset's identities; an image that is not there is of the person it is mated with.
    """
    known = (first >= 0) & (second >= 0)
    labels = [np.where(rows >= 0, data.labels[rows], -1) for rows in (first, second)]
    contradictions = int((known & ((labels[0] == labels[1]) != pairs.same)).sum())
    if pairs.identities is not None:
        codes = pairs.identities
        return (codes, 0) if ((codes[:, 0] == codes[:, 1]) == pairs.same).all() else (None, contradictions)
    if contradictions:
        return None, contradictions
    names = np.unique(np.array(pairs.paths), return_inverse=True)[1].reshape(-1, 2)
    absent = len(data.identities) + names
    codes = np.stack(
        [
            np.where(rows >= 0, label, absent[:, side])
            for side, (rows, label) in enumerate(zip((first, second), labels, strict=True))
        ],
        axis=1,
    )
    group = joined(int(codes.max()) + 1, codes[pairs.same, 0], codes[pairs.same, 1])[codes]
    return (group, 0) if ((group[:, 0] == group[:, 1]) == pairs.same).all() else (None, 0)


def rows_of(pairs: Pairs, data: FaceDataset) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the view of each pair's two images, -1 where an image is not there.

    VultusError, code several_crops, where the data has several crops of what a pair names.
    """
    if pairs.paths:
        by_source = match_paths(data.sources, {path for pair in pairs.paths for path in pair})
        rows = [[by_source.get(path, -1) for path in pair] for pair in pairs.paths]
    else:
        by_number: dict[tuple[str, int], list[int]] = {}
        for row, source in enumerate(data.sources):
            if digits := re.search(r"(\d+)$", Path(source).stem):
                by_number.setdefault((data.identities[data.labels[row]], int(digits[1])), []).append(row)
        wanted = [list(zip(n, k, strict=True)) for n, k in zip(pairs.names, pairs.numbers, strict=True)]
        for name, number in itertools.chain.from_iterable(wanted):
            if len(found := by_number.get((name, number), ())) > 1:
                _refuse_several(f"{name} {number}", [data.sources[row] for row in found])
        rows = [[by_number.get(image, [-1])[0] for image in pair] for pair in wanted]
    table = np.asarray(rows, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _refuse_several(image: str, sources: list[str]) -> NoReturn:
    raise VultusError(
        f"the pairs name {image}, of which the dataset has {len(sources)} crops (of {sources[0]} and {sources[1]}); "
        "build it with one face a photograph, and no two of one number",
        code="several_crops",
        image=image,
        sources=sources,
    )


def match_paths(sources: list[str], wanted: set[str]) -> dict[str, int]:
    """Row of each wanted path that is a source of one crop.

    Where none is a source, leading folders are dropped from all sources, or from all wanted paths, until they meet;
    never where that makes two of them equal. Raises VultusError for a wanted photograph of which there are several
    crops.
    """
    rows_of_source: dict[str, list[int]] = {}
    for row, source in enumerate(sources):
        rows_of_source.setdefault(source, []).append(row)
    depth = max((len(Path(path).parts) for path in (*rows_of_source, *wanted)), default=1)
    for dropped in range(depth):
        for from_sources, from_wanted in ((dropped, 0), (0, dropped)):
            short = {_shorter(source, from_sources): rows for source, rows in rows_of_source.items()}
            keys = {_shorter(path, from_wanted): path for path in wanted}
            if len(short) != len(rows_of_source) or len(keys) != len(wanted) or not short.keys() & keys.keys():
                continue
            found = {path: short[key] for key, path in keys.items() if key in short}
            if several := [path for path, rows in found.items() if len(rows) > 1]:
                _refuse_several(several[0], [sources[row] for row in found[several[0]]])
            return {path: rows[0] for path, rows in found.items()}
    return {}


def _shorter(path: str, folders: int) -> str:
    parts = Path(path).parts
    return Path(*parts[min(folders, len(parts) - 1) :]).as_posix()
