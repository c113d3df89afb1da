"""Whether a ratio is what it says: predicted against observed probabilities."""

from __future__ import annotations

import operator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vultus.evaluation.calibration.prediction import Z
from vultus.evaluation.calibration.thresholds import invalid

BINS = 14


@dataclass(frozen=True)
class Reliability:
    """Comparisons in bins of their log-likelihood ratio, at a prior of one half.

    predicted    mean predicted probability that a comparison of the bin is mated, mated and non-mated weighing the same
    observed     the share that was
    low, high    95 % interval of it; pairs are taken for independent, so the truth is wider
    mated, non_mated   comparisons in the bin
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mated: tuple[int, ...]
    non_mated: tuple[int, ...]

    def to_dict(self) -> dict[str, list[float]]:
        return {field.name: list(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Reliability:
        """Raises TypeError or ValueError for another form."""
        names = [field.name for field in fields(cls)]
        if set(plain) != set(names) or any(len(values) > BINS for values in plain.values()):
            raise ValueError(f"a reliability diagram has the columns {', '.join(names)} of at most {BINS} values")
        counts = {name: tuple(map(operator.index, plain[name])) for name in ("mated", "non_mated")}
        return cls(**{name: tuple(map(float, plain[name])) for name in names[:4]}, **counts)

    def check(self) -> None:
        """CalibrationError (code calibration_invalid) for shares outside [0, 1], or columns of unequal length."""
        shares = (*self.predicted, *self.observed, *self.low, *self.high)
        lengths = {len(getattr(self, field.name)) for field in fields(self)}
        if len(lengths) > 1 or not all(0 <= share <= 1 for share in shares) or min((*self.mated, *self.non_mated, 0)):
            raise invalid("its reliability diagram holds impossible values")


def reliability(llr: np.ndarray, mated: np.ndarray, non_mated: np.ndarray) -> Reliability:
    """`llr` (B,) natural log-likelihood ratios, (B,) counts of the mated and of the non-mated comparisons with them."""
    finite = llr[np.isfinite(llr)]
    edges = np.linspace(finite.min(), finite.max(), BINS + 1)[1:-1]
    place = np.searchsorted(edges, llr, side="right")
    m, n = (np.bincount(place, counts, minlength=BINS) for counts in (mated, non_mated))
    weight = mated / mated.sum() + non_mated / non_mated.sum()
    total = np.bincount(place, weight, minlength=BINS)
    chance = np.bincount(place, weight * probability(llr), minlength=BINS)
    used = total > 0
    m, n, total, chance = m[used], n[used], total[used], chance[used]
    share_m, share_n = m / mated.sum(), n / non_mated.sum()
    # Half a comparison is added to each kind for the interval (Haldane 1956), which keeps a width where one is absent.
    odds = np.log((m + 0.5) / mated.sum()) - np.log((n + 0.5) / non_mated.sum())
    half = Z * np.sqrt(1 / (m + 0.5) + 1 / (n + 0.5))
    return Reliability(
        predicted=_rounded(chance / total),
        observed=_rounded(share_m / (share_m + share_n)),
        low=_rounded(probability(odds - half)),
        high=_rounded(probability(odds + half)),
        mated=tuple(m.astype(int).tolist()),
        non_mated=tuple(n.astype(int).tolist()),
    )


def probability(llr: np.ndarray) -> np.ndarray:
    """The posterior at prior odds of one."""
    return np.exp(-np.logaddexp(0, -np.asarray(llr, np.float64)))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.8g}") for value in values)
