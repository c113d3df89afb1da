"""From a score to the weight of evidence: the natural logarithm of a likelihood ratio.

    llr(s) = ln P(score = s | same person) - ln P(score = s | different people)

It says how much more likely a score is between photographs of one person than of two; posterior odds are prior odds
times exp(llr), and the prior belongs to whoever decides. Mated and non-mated comparisons weigh the same in the fit,
however many of each there are, so that the ratio holds no prior (Brümmer and du Preez 2006).

A ratio beyond what the data can show is a guess: K non-mated comparisons show an FMR down to 10 / K, so no ratio is
above K / 10, and none below 10 / M from M mated ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from vultus.evaluation.calibration.cllr import (
    ScoreCounts,
    counted_cllr,
    counted_min_cllr,
    log_ratio,
    pool_adjacent_violators,
)
from vultus.evaluation.calibration.reliability import Reliability, reliability
from vultus.evaluation.calibration.thresholds import invalid
from vultus.evaluation.intervals import MINIMUM_ERRORS
from vultus.evaluation.scores.pairs import BIN, PairScores

STEPS = 64
"""Steps of the isotonic map that are kept."""

SLACK = 1e-6
"""Of the bounds that are compared: rounding."""

PENALTY = 1e-6
"""On the squares of slope and offset, the scores in units of their standard deviation."""


@dataclass(frozen=True)
class Likelihood:
    """Two maps from score to natural log-likelihood ratio, and how good they are."""

    slope: float
    offset: float
    """llr = slope x score + offset, clipped to [lowest, highest]: logistic regression."""
    lowest: float
    """-ln(M / 10) of M mated scores; at most 0."""
    highest: float
    """ln(K / 10) of K non-mated scores; at least 0."""
    steps: tuple[tuple[float, float], ...]
    """The isotonic map: (score from which on, llr), both ascending, at most 64."""
    cllr: float
    """Bits, of the logistic map on the calibration's own scores."""
    min_cllr: float
    """Bits, of the best non-decreasing map of these scores."""
    reliability: Reliability
    """Of the logistic map on the calibration's own scores."""

    def check(self, mated: int, non_mated: int) -> None:
        """CalibrationError (code calibration_invalid) for ratios that so many comparisons cannot have shown."""
        starts, values = np.array(self.steps, np.float64).reshape(-1, 2).T
        numbers = (self.slope, self.offset, self.lowest, self.highest, self.cllr, self.min_cllr, *starts, *values)
        if not np.isfinite(numbers).all() or min(self.cllr, self.min_cllr) < 0:
            raise invalid("its likelihood ratios hold something that is no number")
        bounds = -log(max(1.0, mated / MINIMUM_ERRORS)), log(max(1.0, non_mated / MINIMUM_ERRORS))
        if not bounds[0] - SLACK <= self.lowest <= 0 <= self.highest <= bounds[1] + SLACK:
            raise invalid(
                f"its likelihood ratios reach from {self.lowest:.3g} to {self.highest:.3g}, beyond what {mated:,} "
                f"mated and {non_mated:,} non-mated comparisons show"
            )
        steps_are_good = (
            len(starts)
            and (np.abs(starts) <= 1 + BIN).all()
            and (np.diff(starts) > 0).all()
            and (np.diff(values) >= 0).all()
            and self.lowest - 1e-4 <= values[0] <= values[-1] <= self.highest + 1e-4
        )
        if not steps_are_good:
            raise invalid("the steps of its likelihood ratios do not rise within their bounds")
        self.reliability.check()

    def llr(self, score: np.ndarray | float) -> np.ndarray:
        """Natural log-likelihood ratio of each score, by the logistic map; NaN stays NaN."""
        return np.clip(self.slope * np.asarray(score, np.float64) + self.offset, self.lowest, self.highest)

    def isotonic_llr(self, score: np.ndarray | float) -> np.ndarray:
        """The same by the isotonic map, a staircase: closer to the data, rougher."""
        starts, values = np.array(self.steps).T
        score = np.asarray(score, np.float64)
        found = values[np.maximum(np.searchsorted(starts, score, side="right") - 1, 0)]
        return np.where(np.isnan(score), np.nan, found)

    def cllr_of(self, scores: PairScores) -> tuple[float, float]:
        """(Cllr of the logistic map, minCllr) in bits on `scores`: those of other people, to judge it."""
        counts = ScoreCounts.of(scores)
        return counted_cllr(self.llr(counts.scores), counts), counted_min_cllr(counts)

    def reliability_of(self, scores: PairScores) -> Reliability:
        counts = ScoreCounts.of(scores)
        return reliability(self.llr(counts.scores), counts.mated, counts.non_mated)

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        starts, values = (list(column) for column in zip(*self.steps, strict=True))
        return {**plain, "steps": {"score": starts, "llr": values}, "reliability": self.reliability.to_dict()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Likelihood:
        try:
            values = dict(plain)
            steps = values.pop("steps")
            if max(len(steps["score"]), len(steps["llr"])) > STEPS:
                raise ValueError(f"more than {STEPS} steps")
            pairs = tuple((float(s), float(v)) for s, v in zip(steps["score"], steps["llr"], strict=True))
            diagram = Reliability.from_dict(values.pop("reliability"))
            return cls(**{name: float(value) for name, value in values.items()}, steps=pairs, reliability=diagram)
        except (AttributeError, ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise invalid(f"its likelihood ratios are unreadable ({error})") from None


def fit_likelihood(scores: PairScores) -> Likelihood:
    """Both maps, fitted to `scores`; VultusError where there are no scores of one kind."""
    counts = ScoreCounts.of(scores)
    slope, offset = fit_logistic(counts)
    lowest = -log(max(1.0, counts.mated.sum() / MINIMUM_ERRORS))
    highest = log(max(1.0, counts.non_mated.sum() / MINIMUM_ERRORS))
    llr = np.clip(slope * counts.scores + offset, lowest, highest)
    return Likelihood(
        slope=slope,
        offset=offset,
        lowest=lowest,
        highest=highest,
        steps=_steps(counts, lowest, highest),
        cllr=counted_cllr(llr, counts),
        min_cllr=counted_min_cllr(counts),
        reliability=reliability(llr, counts.mated, counts.non_mated),
    )


def fit_logistic(counts: ScoreCounts) -> tuple[float, float]:
    """(slope, offset) of the log-odds of "mated" at prior odds of one, by Newton's method.

    A weak penalty keeps the slope finite where the scores separate the two kinds.
    """
    same, other = counts.shares
    target, weight = same, same + other
    centre = float(weight @ counts.scores) / 2
    scale = float(np.sqrt(weight @ (counts.scores - centre) ** 2 / 2)) or 1.0
    design = np.stack([(counts.scores - centre) / scale, np.ones(len(weight))])
    at = np.zeros(2)

    def cost(parameters: np.ndarray) -> float:
        odds = parameters @ design
        return float(weight @ np.logaddexp(0, odds) - target @ odds + PENALTY / 2 * (parameters @ parameters))

    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(at @ design, -700, 700)))
        gradient = design @ (weight * chance - target) + PENALTY * at
        curvature = (design * (weight * chance * (1 - chance))) @ design.T + PENALTY * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        before, share = cost(at), 1.0
        while cost(at - share * step) > before and share > 1e-6:
            share /= 2
        at = at - share * step
        if np.abs(share * step).max() < 1e-10:
            break
    slope = float(at[0] / scale)
    return slope, float(at[1]) - slope * centre


def _steps(counts: ScoreCounts, lowest: float, highest: float) -> tuple[tuple[float, float], ...]:
    """The isotonic map, clipped, its most alike neighbours merged until `STEPS` are left."""
    first, mated, non_mated = pool_adjacent_violators(counts)
    starts, m, n = (counts.scores[first] - BIN / 2).tolist(), mated.tolist(), non_mated.tolist()

    def value(at: int) -> float:
        ratio = float(log_ratio(np.array(m[at]), np.array(n[at])))
        return float(f"{min(highest, max(lowest, ratio)):.6g}")

    values = [value(at) for at in range(len(m))]
    while len(values) > STEPS or (len(values) > 1 and np.diff(values).min() == 0):
        at = int(np.diff(values).argmin())
        m[at] += m.pop(at + 1)
        n[at] += n.pop(at + 1)
        starts.pop(at + 1)
        values.pop(at + 1)
        values[at] = value(at)
    return tuple((float(f"{start:.6f}"), value) for start, value in zip(starts, values, strict=True))
