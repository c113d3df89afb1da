"""FNMR by the condition of the pictures: pose, size, sharpness, or anything else that is measured of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.breakdown.cell import Cell, finite, mated_cell
from vultus.evaluation.breakdown.outcomes import Outcomes
from vultus.evaluation.intervals import MINIMUM_ERRORS


@dataclass(frozen=True, eq=False)
class Condition:
    """Something measured of each picture."""

    name: str
    """Short, for files: "yaw"."""
    title: str
    """In words: "turned to the side"."""
    unit: str
    worse: Literal["low", "high"]
    """Which end is hard for a recogniser."""
    values: np.ndarray
    """(N,) float64; NaN where it is unknown."""

    @property
    def quality(self) -> np.ndarray:
        """(N,) higher is better; -inf where it is unknown."""
        signed = self.values if self.worse == "low" else -self.values
        return np.where(np.isnan(self.values), -np.inf, signed)


@dataclass(frozen=True)
class Bin:
    """Mated comparisons whose worse picture lies in [low, high) of the condition ([low, high] in the last bin)."""

    low: float
    high: float
    fnmr: Cell


@dataclass(frozen=True)
class Breakdown:
    """FNMR over the bins of one condition, from the worst to the best."""

    name: str
    title: str
    unit: str
    threshold: float
    bins: tuple[Bin, ...]
    unknown: Cell | None
    """Comparisons with a picture whose condition is unknown; None where there is none."""
    no_face: int
    """Comparisons lost because no face was found: false non-matches that belong to no bin."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return finite(asdict(self))


def by_condition(outcomes: Outcomes, condition: Condition, bins: int | None = None) -> Breakdown:
    """FNMR at the threshold of `outcomes` in bins with about as many mated comparisons each.

    bins: as many as there are tens of errors, so that each may be told, at least 2 and at most 5.
    A comparison counts by the worse of its two pictures. Comparisons of equal value stay together, so bins may differ
    in size or be fewer, but two different values make at least two bins (unless `bins` is 1). Raises VultusError for
    another number of values, or where no value is known.
    """
    if condition.values.shape != outcomes.identity.shape:
        raise VultusError(f"{condition.name}: {condition.values.shape} values for {len(outcomes.identity)} pictures")
    pairs = condition.values[outcomes.mated]
    value = pairs.min(axis=1) if condition.worse == "low" else pairs.max(axis=1)  # NaN if one of the two is
    known = ~np.isnan(value)
    if not known.any():
        raise VultusError(f"{condition.name} is known of no mated comparison; nothing can be broken down by it")
    if bins is None:
        bins = int(np.clip(outcomes.rejected[known].sum() // MINIMUM_ERRORS, 2, 5))
    ordered = np.sort(value[known])
    starts = _starts(ordered, bins)
    every = _cell(outcomes, np.ones(len(value), bool), None)
    found = []
    for low, high in zip(starts, [*starts[1:], None], strict=True):
        end = float(ordered[-1]) if high is None else high
        inside = (value >= low) & ((value <= end) if high is None else (value < end))
        found.append(Bin(low, end, _cell(outcomes, inside, every)))
    return Breakdown(
        name=condition.name,
        title=condition.title,
        unit=condition.unit,
        threshold=outcomes.threshold,
        bins=tuple(found if condition.worse == "low" else found[::-1]),
        unknown=None if known.all() else _cell(outcomes, ~known, every),
        no_face=int(outcomes.failures.sum()),
    )


def _starts(ordered: np.ndarray, bins: int) -> list[float]:
    """Lowest value of each bin, ascending: (M,) `ordered` values cut between different ones, nearest to equal parts."""
    steps = np.flatnonzero(ordered[1:] > ordered[:-1]) + 1
    wanted = np.arange(1, bins) * len(ordered) // bins
    cuts = steps[np.abs(steps - wanted[:, None]).argmin(axis=1)] if len(steps) else steps
    return ordered[np.unique(np.append(0, cuts))].tolist()


def _cell(outcomes: Outcomes, which: np.ndarray, every: Cell | None) -> Cell:
    owner, rejected = outcomes.mated_identity[which], outcomes.rejected[which]
    counts = np.bincount(owner, minlength=outcomes.identities)
    errors = np.bincount(owner[rejected], minlength=outcomes.identities)
    return mated_cell(errors, counts, None if every is None else every.rate)
