"""A rate of a part of the data, withheld where that part is too small to show it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isfinite, sqrt
from typing import Any

import numpy as np

from vultus.evaluation.intervals import MINIMUM_ERRORS, Rate, mated_rate

MINIMUM_PEOPLE = 10
"""A rate of fewer people is withheld: how much people differ is estimated from them, and an interval from under ten
clusters is too narrow (Cameron, Gelbach, Miller, Review of Economics and Statistics 90, 2008)."""


@dataclass(frozen=True)
class Cell:
    """An error rate of some comparisons of some people, or why it is not told."""

    rate: Rate
    people: float
    """How many people these comparisons are worth: (sum n)^2 / sum n^2 of those of each person (Kish, 1965). Their
    number where all have as many; near 1 where one person has nearly all. Of two groups: of the smaller one."""
    needs: int | None = None
    """Comparisons at which 10 errors would be expected at the rate of the whole data; None where there are as many."""
    needs_people: int | None = None
    """About how many people that is, with as many images each; None where there are enough of both."""

    @property
    def is_supported(self) -> bool:
        return self.needs is None and self.needs_people is None

    @property
    def value(self) -> float | None:
        """The rate, None where it is withheld."""
        return self.rate.value if self.is_supported else None


class MatedCounts:
    """`Comparisons` that are mated only: (G,) counts."""

    def __init__(self, mated: np.ndarray) -> None:
        self.mated = mated
        self.non_mated = np.zeros_like(mated)
        self.squares = 0.0

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.zeros(len(first), np.int64)

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        return np.zeros(len(weights))


def mated_cell(errors: np.ndarray, counts: np.ndarray, reference: Rate | None) -> Cell:
    """FNMR from false non-matches and mated comparisons by identity, (G,) each."""
    return cell(mated_rate(errors, MatedCounts(counts)), worth(counts), reference, power=1)


def worth(counts: np.ndarray) -> float:
    """(sum n)^2 / sum n^2: how many people with equal counts are as many as these; 0 of nothing."""
    counts = np.asarray(counts, dtype=np.float64)
    squares = float(counts @ counts)
    return float(counts.sum()) ** 2 / squares if squares else 0.0


def cell(rate: Rate, people: float, reference: Rate | None, *, power: int) -> Cell:
    """`rate`, withheld where fewer than 10 errors are expected at the `reference` rate, or there are too few people.

    The comparisons grow with the number of people to the `power`: 1 for mated ones, 2 for non-mated ones. The expected
    and not the observed errors decide, so that a group is not left out for doing well. No reference: always told.
    """
    if reference is None:
        return Cell(rate, people)
    # Without any error in the whole data the rate may be up to 3 / trials (rule of three), and nothing is told.
    needed = ceil(MINIMUM_ERRORS * reference.trials / (reference.errors or 3))
    short = rate.trials < needed
    if not short and people >= MINIMUM_PEOPLE - 1e-9:
        return Cell(rate, people)
    wanted = MINIMUM_PEOPLE
    if short and rate.trials:
        grown = needed / rate.trials if power == 1 else sqrt(needed / rate.trials)
        wanted = max(wanted, ceil(people * grown))
    return Cell(rate, people, needed if short else None, wanted)


def finite(plain: Any) -> Any:
    """The same dicts, lists and values with None for infinity and NaN, which JSON does not have."""
    if isinstance(plain, dict):
        return {name: finite(value) for name, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [finite(value) for value in plain]
    return None if isinstance(plain, float) and not isfinite(plain) else plain
