"""1:1 verification: how often strangers pass and the same person does not, at each threshold.

A comparison matches when score >= threshold. FAR(T) = non-mated scores >= T / non-mated comparisons (FMR of ISO/IEC
19795-1), TAR(T) = mated scores >= T / mated comparisons, failures to find a face included among the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals import Interval, allowed_errors, is_supported, needed_comparisons, wilson
from vultus.evaluation.scores import BIN, TAIL, PairScores, ScoredPair, all_pairs, explicit_scores

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold and its rates; every measured field is None, and `needs` a count, where the data is too small."""

    far: float
    """The FAR asked for."""
    threshold: float | None
    """The smallest threshold whose FAR on this data does not exceed `far`."""
    far_measured: float | None
    far_interval: Interval | None
    tar: float | None
    tar_interval: Interval | None
    false_matches: int | None
    needs: int | None = None
    """How many non-mated comparisons `far` would need: ceil(10 / far)."""


@dataclass(frozen=True, eq=False)
class Verification:
    """Figures of one set of comparisons. Intervals are 95 % Wilson intervals (see `intervals.wilson`)."""

    images: int
    identities: int
    mated: int
    """Mated comparisons, `mated_failures` included."""
    non_mated: int
    mated_failures: int
    auc: float
    """P(a mated score is above a non-mated one), ties count half."""
    auc_error: float
    """Bound of the AUC's error: 0 when all non-mated scores were kept, else what ties inside bins of 2^-16 can hide."""
    eer: float
    """Mean of FAR and FNMR at the threshold where they are closest."""
    eer_threshold: float
    points: tuple[OperatingPoint, ...]
    histogram_edges: np.ndarray
    """(B + 1,) ascending; bins of equal width for a picture."""
    histogram_mated: np.ndarray
    histogram_non_mated: np.ndarray
    curve_threshold: np.ndarray
    """(P,) ascending thresholds of the ROC and DET; curve_far and curve_tar are exact at each of them."""
    curve_far: np.ndarray
    curve_tar: np.ndarray
    hardest_mated: tuple[ScoredPair, ...] = ()
    hardest_non_mated: tuple[ScoredPair, ...] = ()

    def point(self, far: float) -> OperatingPoint:
        """The operating point measured for `far`; KeyError when it was not asked for."""
        for point in self.points:
            if point.far == far:
                return point
        raise KeyError(f"no operating point at FAR {far:g}; there are {', '.join(f'{p.far:g}' for p in self.points)}")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["points"] = [asdict(point) for point in self.points]
        for name in ("hardest_mated", "hardest_non_mated"):
            plain[name] = [pair._asdict() for pair in plain[name]]
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}


def verify_all_pairs(
    embeddings: np.ndarray,
    labels: np.ndarray,
    fars: Sequence[float] = FARS,
    *,
    mated_failures: int = 0,
    block: int = 2048,
    tail: int = TAIL,
) -> Verification:
    """Compare every image with every other one: embeddings (N, D) float32 unit rows, labels (N,) integers.

    Exact for the thresholds that let at most `tail` (16.8 million) false matches through and for their TAR; a FAR
    beyond that gets the next bin edge above (at most 2^-16 higher), whose FAR and TAR are again exact.
    `mated_failures`: mated comparisons lost because no face was found; they count as false non-matches.
    Raises VultusError for bad embeddings, a single identity, or no identity with two images.
    """
    scores = all_pairs(embeddings, labels, mated_failures=mated_failures, block=block, tail=tail)
    return summarise(scores, fars, images=len(labels), identities=len(np.unique(labels)))


def verify_scores(
    mated: np.ndarray,
    non_mated: np.ndarray,
    fars: Sequence[float] = FARS,
    *,
    mated_failures: int = 0,
    images: int = 0,
    identities: int = 0,
) -> Verification:
    """The same figures from mated (M,) and non-mated (K,) scores, higher is more alike; -inf marks a failure.

    See `scores.explicit_scores`. Everything is exact. The hardest pairs stay empty: there are no indices.
    """
    return summarise(explicit_scores(mated, non_mated, mated_failures=mated_failures), fars, images, identities)


def operating_point(scores: PairScores, far: float) -> OperatingPoint:
    """Threshold and rates at `far`, withheld where far x non-mated comparisons < 10."""
    if not 0 < far <= 1:
        raise ValueError(f"a false accept rate lies in (0, 1], not {far}")
    if not is_supported(far, scores.non_mated):
        return OperatingPoint(far, None, None, None, None, None, None, needs=needed_comparisons(far))
    threshold = scores.threshold(allowed_errors(far, scores.non_mated))
    false_matches = scores.false_matches(threshold)
    total = scores.mated_comparisons
    matches = total - scores.false_non_matches(threshold)
    return OperatingPoint(
        far=far,
        threshold=threshold,
        far_measured=false_matches / scores.non_mated,
        far_interval=wilson(false_matches, scores.non_mated),
        tar=matches / total,
        tar_interval=wilson(matches, total),
        false_matches=false_matches,
    )


def require_comparisons(scores: PairScores, identities: int) -> None:
    """VultusError where rates have no denominator."""
    if scores.non_mated == 0:
        what = "one identity only" if identities == 1 else "no two identities"
        raise VultusError(f"{what}: there is nobody to tell apart; give images of at least two people")
    if scores.mated_comparisons == 0:
        raise VultusError("no identity has two images: nothing shows that a person is recognised again; add images")


def summarise(scores: PairScores, fars: Sequence[float], images: int, identities: int) -> Verification:
    require_comparisons(scores, identities)
    auc, auc_error = _auc(scores)
    eer, eer_threshold = _eer(scores)
    edges, mated, non_mated = _histogram(scores)
    threshold, far, tar = _curve(scores)
    return Verification(
        images=images,
        identities=identities,
        mated=scores.mated_comparisons,
        non_mated=scores.non_mated,
        mated_failures=scores.mated_failures,
        auc=auc,
        auc_error=auc_error,
        eer=eer,
        eer_threshold=eer_threshold,
        points=tuple(operating_point(scores, far) for far in fars),
        histogram_edges=edges,
        histogram_mated=mated,
        histogram_non_mated=non_mated,
        curve_threshold=threshold,
        curve_far=far,
        curve_tar=tar,
        hardest_mated=scores.hardest_mated,
        hardest_non_mated=scores.hardest_non_mated,
    )


def _auc(scores: PairScores) -> tuple[float, float]:
    """(AUC, bound of its error). With the histogram, a mated and a non-mated score of one bin count half."""
    pairs = scores.mated_comparisons * scores.non_mated
    if scores.is_complete:
        below = np.searchsorted(scores.tail, scores.mated, side="left").sum(dtype=np.int64)
        not_above = np.searchsorted(scores.tail, scores.mated, side="right").sum(dtype=np.int64)
        return float(int(below) + int(not_above)) / (2 * pairs), 0.0
    mated = np.histogram(scores.mated, np.append(-1 + BIN * np.arange(len(scores.histogram)), np.inf))[0]
    below = np.cumsum(scores.histogram) - scores.histogram
    wins = float(np.dot(mated.astype(np.float64), below))
    ties = float(np.dot(mated.astype(np.float64), scores.histogram))
    return (wins + ties / 2) / pairs, ties / 2 / pairs


def _eer(scores: PairScores) -> tuple[float, float]:
    """(EER, threshold): bisection on FNMR - FAR, which only grows with the threshold."""

    def rates(threshold: float) -> tuple[float, float, float]:
        at = scores.snap(float(np.float32(threshold)))
        far = scores.false_matches(at) / scores.non_mated
        return far, scores.false_non_matches(at) / scores.mated_comparisons, at

    ends = [scores.tail[0], scores.tail[-1], *scores.mated[[0, -1]]] if len(scores.mated) else [-1.0, 1.0]
    low, high = (float(min(-1.0, *ends)), float(np.nextafter(np.float32(max(1.0, *ends)), np.float32(np.inf))))
    for _ in range(64):
        middle = (low + high) / 2
        far, fnmr, _at = rates(middle)
        low, high = (middle, high) if fnmr < far else (low, middle)
    candidates = [rates(low), rates(high)]
    far, fnmr, at = min(candidates, key=lambda r: abs(r[0] - r[1]))
    return (far + fnmr) / 2, at


def _histogram(scores: PairScores, bins: int = 256) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(edges (B + 1,), mated (B,), non-mated (B,)) over the range that occurs."""
    if scores.is_complete:
        everything = (scores.mated, scores.tail)
        low = min(float(s[0]) for s in everything if len(s))
        high = max(float(s[-1]) for s in everything if len(s))
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        return (edges, np.histogram(scores.mated, edges)[0], np.histogram(scores.tail, edges)[0])
    edges = np.linspace(-1, 1, 2 * bins + 1)  # 2^-8 wide: each holds 2^8 of the fine bins
    non_mated = scores.histogram[:-1].reshape(2 * bins, -1).sum(axis=1)
    non_mated[-1] += scores.histogram[-1]
    mated = np.histogram(scores.mated, edges)[0]
    used = np.flatnonzero(mated + non_mated)
    first, last = int(used[0]), int(used[-1]) + 1
    return edges[first : last + 1], mated[first:last], non_mated[first:last]


def _curve(scores: PairScores, per_decade: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(thresholds, FAR, TAR), thresholds ascending: evenly spaced on the log axes of both error rates."""

    def ranks(count: int) -> np.ndarray:
        if count == 0:
            return np.empty(0, np.int64)
        spread = np.geomspace(1, count, 1 + int(np.ceil(per_decade * np.log10(count)))) if count > 1 else [1]
        return np.unique(np.concatenate([[0], spread, np.linspace(0, count, 101)]).astype(np.int64))

    thresholds = [scores.threshold(int(k)) for k in ranks(scores.non_mated)]
    lost = ranks(len(scores.mated))
    thresholds += [scores.snap(float(scores.mated[k])) for k in lost if k < len(scores.mated)]
    chosen = np.unique(thresholds)
    far = np.array([scores.false_matches(t) for t in chosen]) / scores.non_mated
    tar = 1 - np.array([scores.false_non_matches(t) for t in chosen]) / scores.mated_comparisons
    return chosen, far, tar
