"""How the false positive identification rate grows with the gallery, beside the law of independent comparisons.

A search of n templates is n comparisons. Were they independent, all with the same false match rate, then

    FPIR = 1 - (1 - FMR)^n,   about n x FMR while that is small.

They are not: the false matches pile up on the few strangers who look like many others. As 1 - (1 - p)^n bends down in
p, the mean over strangers lies below the law (Jensen): at a given FMR the law is on the safe side, the more so the
larger the gallery. Several templates of one person agree more than templates of different people do: they raise FPIR
by less than their number, but by more than nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import expm1, log1p
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals import Interval, Rate, allowed_errors, is_supported, needed_comparisons
from vultus.evaluation.protocols.galleries import Draw, check_sizes, coded, nested_galleries
from vultus.evaluation.protocols.rates import fmr_at
from vultus.evaluation.protocols.searches import search
from vultus.evaluation.scores import all_pairs
from vultus.evaluation.selection import cap_per_identity

FMRS = (1e-3, 1e-4, 1e-5)


def law(fmr: float, templates: float) -> float:
    """1 - (1 - fmr)^templates, exact for small rates."""
    return 1.0 if fmr >= 1 else -expm1(templates * log1p(-fmr))


@dataclass(frozen=True)
class GrowthPoint:
    """FPIR at one gallery size."""

    people: int
    templates: int
    fpir: float
    """The mean over the galleries: positive searches of all among all searches."""
    spread: Interval
    """The lowest and the highest of a single gallery."""
    predicted: float
    """The law, at the measured FMR and this number of templates."""


@dataclass(frozen=True)
class GrowthSeries:
    """One threshold; withheld (`points` empty, `needs` non-mated pairs) where the data cannot support the FMR."""

    fmr: float
    """The rate asked for; the threshold is the smallest that keeps to it on all non-mated pairs."""
    threshold: float | None = None
    fmr_rate: Rate | None = None
    points: tuple[GrowthPoint, ...] = ()
    needs: int | None = None


@dataclass(frozen=True)
class Growth:
    """FPIR by gallery size at thresholds fixed at false match rates of 1:1."""

    identities: int
    images: int
    pairs: int
    """Non-mated pairs behind the FMR."""
    searches: int
    """Non-mated searches of one gallery."""
    galleries: int
    enrol: int
    series: tuple[GrowthSeries, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return asdict(self)


def fpir_growth(
    embeddings: np.ndarray,
    labels: np.ndarray,
    people: Sequence[int] | None = None,
    *,
    fmrs: Sequence[float] = FMRS,
    galleries: int = 20,
    enrol: int = 1,
    images_each: int | None = 1,
    seed: int = 0,
) -> Growth:
    """FPIR measured in galleries sampled from embeddings (N, D) float32 unit rows, labels (N,).

    people        gallery sizes; by default 1, 2, 5, 10, ... and half of those who can be enrolled
    fmrs          at which the threshold is set, 1:1, over all non-mated pairs of the images that take part
    enrol         templates a person; the law is meant for one
    images_each   the first so many images of an identity take part (at least `enrol`); None: all. One each weighs
                  everybody the same in the FMR as in the searches

    The strangers, who are the same for all sizes of a gallery, are not in it. Raises VultusError as `open_set` does.
    """
    draw = Draw(enrol=enrol, strangers_each=images_each)
    embeddings, codes, missing, images = coded(embeddings, labels, None)
    chosen = cap_per_identity(codes, None if images_each is None else max(images_each, enrol))
    embeddings, codes = embeddings[chosen], codes[chosen]
    images = np.bincount(codes, minlength=len(images))
    if galleries < 1:
        raise VultusError(f"{galleries} galleries: sample at least one")
    sizes = check_sizes(images, missing, people or _sizes(images, draw), draw, need_mated=False)
    scores = all_pairs(embeddings, codes, hardest=0)
    supported = [fmr for fmr in fmrs if is_supported(fmr, scores.non_mated)]
    thresholds = [scores.threshold(allowed_errors(fmr, scores.non_mated)) for fmr in supported]
    # (thresholds, sizes, galleries) positive searches; searches of each gallery.
    positive = np.zeros((len(thresholds), len(sizes), galleries), np.int64)
    searched, rng = np.zeros(galleries, np.int64), np.random.default_rng(seed)
    for turn in range(galleries):
        for place, split in enumerate(nested_galleries(codes, missing, sizes, draw, rng)):
            rows, strangers = split.enrolled, split.strangers
            best = search(embeddings[rows], codes[rows], embeddings[strangers], codes[strangers]).best
            positive[:, place, turn] = [(best >= np.float32(t)).sum() for t in thresholds]
            searched[turn] = len(strangers)
    measured = dict(zip(supported, range(len(supported)), strict=True))
    series = []
    for fmr in fmrs:
        if fmr not in measured:
            series.append(GrowthSeries(fmr, needs=needed_comparisons(fmr)))
            continue
        threshold, rate = thresholds[measured[fmr]], fmr_at(scores, thresholds[measured[fmr]])
        points = tuple(
            _point(size, enrol, found, searched, rate.value)
            for size, found in zip(sizes, positive[measured[fmr]], strict=True)
        )
        series.append(GrowthSeries(fmr, threshold, rate, points))
    return Growth(len(images), len(codes), scores.non_mated, int(searched.mean()), galleries, enrol, tuple(series))


def _point(people: int, enrol: int, positive: np.ndarray, searched: np.ndarray, fmr: float) -> GrowthPoint:
    single = positive / searched
    spread = (float(single.min()), float(single.max()))
    templates = people * enrol
    return GrowthPoint(people, templates, float(positive.sum() / searched.sum()), spread, law(fmr, templates))


def _sizes(images: np.ndarray, draw: Draw) -> tuple[int, ...]:
    most = max(1, int((images >= draw.enrol).sum()) // 2)
    series = (step * 10**power for power in range(9) for step in (1, 2, 5))
    return (*(size for size in series if size < most), most)
