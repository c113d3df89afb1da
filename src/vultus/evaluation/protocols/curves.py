"""Figures over all thresholds: AUC, EER, histograms, and the points of the ROC and DET."""

from __future__ import annotations

import numpy as np

from vultus.evaluation.intervals import mated_rate, wilson
from vultus.evaluation.scores import BIN, PairScores


def area(scores: PairScores) -> tuple[float, float]:
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


def equal_error(scores: PairScores) -> tuple[float, float]:
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


def histograms(scores: PairScores, bins: int = 256) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def curve(scores: PairScores, per_decade: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def tar_band(scores: PairScores, thresholds: np.ndarray) -> np.ndarray:
    """(P, 2) 95 % intervals of TAR at each of the ascending `thresholds` (Wilson, identities respected)."""
    ends = np.searchsorted(scores.mated, thresholds.astype(np.float32), side="left")
    if scores.comparisons is None or scores.mated_identity is None:
        lost = ends + scores.mated_failures
        band = np.array([wilson(int(k), scores.mated_comparisons) for k in lost])
        return 1 - band[:, ::-1]
    identities = len(scores.comparisons.mated)
    errors = np.zeros(identities, np.int64) if scores.failures is None else scores.failures.astype(np.int64)
    band, start = np.empty((len(ends), 2)), 0
    for k, end in enumerate(ends):
        errors = errors + np.bincount(scores.mated_identity[start:end], minlength=identities)
        start = int(end)
        band[k] = mated_rate(errors, scores.comparisons).interval
    return 1 - band[:, ::-1]
