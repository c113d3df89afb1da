"""Below the data: the largest non-mated scores follow a generalised Pareto distribution (Pickands 1975; Coles 2001).

Above a high score u, P(score > t) = q (1 + xi (t - u) / sigma)^(-1 / xi), with q the share above u. The law is fitted
by maximum likelihood to a few thousand exceedances, and its uncertainty comes from resampling identities: a comparison
of i and j counts w_i w_j times, so that pairs that share people are drawn together.

It describes the people that were seen. Look-alikes, relatives and wrong labels are rarer than one in all of the
calibration's pairs can show, so the truth far below the data is rather worse than the fit. With SFace, 300 or 700
people of the public LFW and a check on all the others, rates down to a tenth of the lowest measured one came out right
within their intervals; at a hundredth they were 3 to 10 times what was promised. Hence one decade and no more
(`benchmarks/calibration.py` prints that decade).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vultus.evaluation.intervals import Interval, percentile_interval
from vultus.evaluation.scores import PairScores

FEWEST, MOST, SHARE = 500, 10_000, 1e-3
"""Exceedances that are fitted: the top SHARE of the scores, within these limits."""

FEWEST_PAIRS = 10 * FEWEST
"""Non-mated comparisons: the tail is at most a tenth of them."""

DECADES = 1
"""How far below the lowest measured rate."""

SHAPES = 120
"""Grid of the profile likelihood."""

LOWEST_SHAPE = -0.5
"""Maximum likelihood is regular above it only (Smith 1985)."""


@dataclass(frozen=True)
class Tail:
    """The fitted law, and `resampled` ones for its uncertainty."""

    above: float
    """u: the score above which it holds."""
    share: float
    """q: the share of non-mated scores above u."""
    scale: float
    """sigma > 0."""
    shape: float
    """xi; below 0 the scores end at u - sigma / xi."""
    exceedances: int

    def fmr(self, threshold: float) -> float:
        return float(survival(threshold, self.above, self.share, self.scale, self.shape))

    def threshold(self, fmr: float) -> float:
        """The score at which `fmr` < `share` is reached; may lie above 1, where no cosine lies."""
        ratio = fmr / self.share
        if abs(self.shape) < 1e-9:
            return self.above - self.scale * float(np.log(ratio))
        return self.above + self.scale / self.shape * float(np.expm1(-self.shape * np.log(ratio)))


@dataclass(frozen=True, eq=False)
class TailFit:
    tail: Tail
    share: np.ndarray
    """(R,) of the resamples, as scale and shape."""
    scale: np.ndarray
    shape: np.ndarray

    def interval(self, threshold: float) -> Interval:
        """95 % of the resampled FMRs at `threshold`."""
        rates = survival(threshold, self.tail.above, self.share, self.scale, self.shape)
        return percentile_interval(rates)


def fit_tail(
    scores: PairScores, measured: Sequence[tuple[float, Interval]], weights: np.ndarray | None, replicates: int = 200
) -> TailFit | None:
    """The fit with the most exceedances that agrees with what was measured, None where none does.

    `measured`: thresholds with the 95 % interval of the FMR there; the fit must lie inside at each one above u. Where
    the largest scores do not follow the tail of the others (wrong labels, twins) nothing is extrapolated.
    `weights` (R, G): how often each identity is drawn; None resamples comparisons as if they were independent.
    """
    count = int(np.clip(SHARE * scores.non_mated, FEWEST, MOST))
    while count >= FEWEST:
        fit = _fit(scores, count, weights, replicates)
        if fit is not None and all(
            low <= fit.tail.fmr(threshold) <= high for threshold, (low, high) in measured if threshold > fit.tail.above
        ):
            return fit
        count = count * 2 // 3
    return None


def _fit(scores: PairScores, count: int, weights: np.ndarray | None, replicates: int) -> TailFit | None:
    """To the `count` largest scores; None where they are more than a tenth of all or not all kept, or mostly ties."""
    if scores.non_mated < FEWEST_PAIRS or count >= len(scores.tail):
        return None
    above = float(scores.tail[-count - 1])
    excess = scores.tail[-count:].astype(np.float64) - above
    if excess[-1] <= 0 or np.mean(excess > 0) < 0.5:
        return None
    share = count / scores.non_mated
    if weights is None or scores.comparisons is None or scores.tail_identities is None:
        drawn = np.random.default_rng(0).poisson(1.0, (replicates, count)).astype(np.float64)
        shares = drawn.sum(axis=1) / scores.non_mated
    else:
        first, second = scores.tail_identities[-count:].T
        weights = weights.astype(np.float64)
        drawn = weights[:, first] * weights[:, second]
        shares = drawn.sum(axis=1) / scores.comparisons.weighted(weights)
    if drawn.sum(axis=1).min() <= 0:
        return None
    scale, shape = fit_generalised_pareto(excess, np.ones((1, count)))
    scales, shapes = fit_generalised_pareto(excess, drawn)
    return TailFit(Tail(above, share, float(scale[0]), float(shape[0]), count), shares, scales, shapes)


def fit_generalised_pareto(excess: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(scale, shape), (R,) each: maximum likelihood for `excess` (K,) > 0 that count `weights` (R, K) times.

    With theta = xi / sigma the best xi is the mean of ln(1 + theta y), which leaves one parameter (Grimshaw 1993),
    searched on a grid for all rows at once and refined by a parabola through the best three points.
    """
    top, total = float(excess.max()), weights.sum(axis=1)
    # theta > -1 / top; dense where the likelihood turns fast.
    ends = np.geomspace(1e-4, 1, SHAPES // 2, endpoint=False)
    theta = np.concatenate([-(1 - ends), np.geomspace(1e-4, 50, SHAPES // 2)]) / top
    theta = np.sort(np.append(theta, [-1e-4 / top, -1e-5 / top, 1e-5 / top]))
    shape = weights @ np.log1p(np.outer(excess, theta)) / total[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = -np.log(shape / theta) - shape - 1
    value = np.where((shape < LOWEST_SHAPE) | ~np.isfinite(value), -np.inf, value)
    best = np.clip(value.argmax(axis=1), 1, len(theta) - 2)
    rows = np.arange(len(weights))
    chosen = _vertex(*(theta[best + k] for k in (-1, 0, 1)), *(value[rows, best + k] for k in (-1, 0, 1)))
    fitted = np.array([w @ np.log1p(t * excess) for w, t in zip(weights, chosen, strict=True)]) / total
    return fitted / chosen, fitted


def survival(
    threshold: float, above: float, share: np.ndarray | float, scale: np.ndarray | float, shape: np.ndarray | float
) -> np.ndarray:
    """P(score > threshold) for a threshold at or above `above`; 0 beyond the end of a bounded law."""
    reduced = (threshold - above) / np.asarray(scale)
    shape = np.where(np.abs(shape) < 1e-9, 1e-9, shape)
    inside = np.maximum(1 + shape * reduced, 0)
    with np.errstate(divide="ignore"):
        return share * np.exp(-np.log(inside) / shape)


def _vertex(a: np.ndarray, b: np.ndarray, c: np.ndarray, fa: np.ndarray, fb: np.ndarray, fc: np.ndarray) -> np.ndarray:
    """Where the parabola through three points peaks; the middle one where there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        up = (b - a) ** 2 * (fb - fc) - (b - c) ** 2 * (fb - fa)
        down = (b - a) * (fb - fc) - (b - c) * (fb - fa)
        at = b - up / (2 * down)
    return np.where(np.isfinite(at) & (at > a) & (at < c) & (at != 0), at, b)
