"""Pairs by the quality of their images: XQLFW's quality file, or any number an image, and the figures of each bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals import Rate, independent_rate
from vultus.evaluation.protocols.kfold import error_rate
from vultus.evaluation.protocols.pair_lists import Pairs, read_list, show
from vultus.formats import read_rows

ImageKey = tuple[str, int] | str
"""An image as a list names it: (identity, number) or a path."""


@dataclass(frozen=True)
class QualityBin:
    """Pairs whose worse image has a quality in [low, high] (the next bin starts above `high`)."""

    low: float
    high: float
    mated: int
    non_mated: int
    error: Rate
    """Wrong decisions at the folds' thresholds; accuracy = 1 - error."""
    fnmr: Rate
    """At the one threshold of the whole list; TAR = 1 - FNMR."""
    fmr: Rate

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def read_quality(path: str | Path) -> dict[ImageKey, float]:
    """The quality of each image, higher is better.

    XQLFW's `xqlfw_scores.txt` (Knoche, Hoermann, Rigoll, 2021): a header "ID Num Score", then lines
    "name number score". Or a CSV of "path,quality", with or without a header. Raises VultusError naming file and line.
    """
    path = Path(path)
    is_csv = path.suffix.lower() == ".csv"
    lines = enumerate(read_list(path).splitlines(), start=1) if not is_csv else ()
    rows = read_rows(path, "the list") if is_csv else ((number, line.split()) for number, line in lines)
    form, width = ("path,quality", 2) if is_csv else ("name number score", 3)
    found: dict[ImageKey, float] = {}
    for number, row in rows:
        if not any(row) or (number == 1 and row[-1].lower() in ("score", "quality")):
            continue
        try:
            if len(row) != width:
                raise ValueError
            key: ImageKey = Path(row[0]).as_posix() if is_csv else (row[0], int(row[1]))
            value = float(row[-1])
        except ValueError:
            raise VultusError(f'{path}, line {number}: expected "{form}", found {show([" ".join(row)])}') from None
        if not np.isfinite(value):
            raise VultusError(f"{path}, line {number}: the quality {row[-1]} is no number to sort by")
        if found.setdefault(key, value) != value:
            raise VultusError(f"{path}, line {number}: another quality for an image that was listed before")
    if not found:
        raise VultusError(f"{path}: no image in it; write lines of {form}")
    return found


def worse_quality(pairs: Pairs, quality: Mapping[ImageKey, float]) -> np.ndarray:
    """(P,) float64: the quality of the worse image of each pair. Raises VultusError for images that are not listed."""
    rows: Sequence[Sequence[ImageKey]]
    if pairs.numbers:
        rows = [list(zip(n, k, strict=True)) for n, k in zip(pairs.names, pairs.numbers, strict=True)]
    else:
        rows = [[Path(p).as_posix() for p in pair] for pair in pairs.paths]
    absent = {image for pair in rows for image in pair if image not in quality}
    if absent:
        name = min(str(image) for image in absent)
        raise VultusError(f"the quality file lacks {len(absent):,} images of the pairs, such as {name}; add them")
    return np.array([min(quality[image] for image in pair) for pair in rows])


def by_quality(
    quality: np.ndarray,
    scores: np.ndarray,
    same: np.ndarray,
    right: np.ndarray,
    threshold: float,
    identities: np.ndarray | None = None,
    bins: int | Sequence[float] = 3,
) -> tuple[QualityBin, ...]:
    """The figures of the pairs in each bin of quality, worst bin first.

    quality (P,) see `worse_quality`; scores (P,), -inf without a face; same (P,); right (P,) the folds' decisions
    (`KFold.right`); threshold: one score for all bins; identities (P, 2) codes where they are known.
    bins: how many of about equal size, or the inner edges: a pair lies in the first bin whose edge is not below its
    quality. Pairs of equal quality are never parted, so there can be fewer bins.
    """
    inner = np.quantile(quality, np.arange(1, bins) / bins) if isinstance(bins, int) else np.asarray(bins, float)
    if len(inner) and (np.diff(inner) < 0).any():
        raise VultusError("the edges of the quality bins must ascend")
    place = np.searchsorted(np.unique(inner), quality, side="left")
    found = []
    for bin_ in np.unique(place):
        rows = place == bin_
        mated, non_mated = rows & same, rows & ~same & ~np.isneginf(scores)
        passes = scores.astype(np.float32) >= np.float32(threshold)
        found.append(
            QualityBin(
                low=float(quality[rows].min()),
                high=float(quality[rows].max()),
                mated=int(mated.sum()),
                non_mated=int(non_mated.sum()),
                error=_rate(~right, rows, same, identities),
                fnmr=_rate(~passes, mated, same, identities),
                fmr=_rate(passes, non_mated, same, identities),
            )
        )
    return tuple(found)


def _rate(wrong: np.ndarray, rows: np.ndarray, same: np.ndarray, identities: np.ndarray | None) -> Rate:
    if identities is None or not rows.any():
        return independent_rate(int(wrong[rows].sum()), int(rows.sum()))
    return error_rate(wrong[rows], same[rows], identities[rows])
