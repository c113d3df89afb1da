"""A rate of a part of the data, withheld where that part is too small to show it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from vultus.evaluation.intervals import MINIMUM_ERRORS, Rate, mated_rate

MINIMUM_IDENTITIES = 10
"""A rate of fewer people is withheld: how much people differ is estimated from them, and an interval from under ten
clusters is too narrow (Cameron, Gelbach, Miller, Review of Economics and Statistics 90, 2008)."""


@dataclass(frozen=True)
class Cell:
    """An error rate of some comparisons of some people, or why it is not told."""

    rate: Rate
    identities: int
    """People whose comparisons these are (of two groups: of the smaller one)."""
    needs: int | None = None
    """Comparisons at which 10 errors would be expected at the rate of the whole data; None where there are as many."""
    needs_identities: int | None = None
    """About how many people that is; None where there are enough of both."""

    @property
    def is_supported(self) -> bool:
        return self.needs is None and self.needs_identities is None

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
    return cell(mated_rate(errors, MatedCounts(counts)), int((counts > 0).sum()), reference, power=1)


def cell(rate: Rate, identities: int, reference: Rate | None, *, power: int) -> Cell:
    """`rate`, withheld where fewer than 10 errors are expected at the `reference` rate, or there are too few people.

    The comparisons grow with the number of people to the `power`: 1 for mated ones, 2 for non-mated ones. The expected
    and not the observed errors decide, so that a group is not left out for doing well. No reference: always told.
    """
    if reference is None:
        return Cell(rate, identities)
    # Without any error in the whole data the rate may be up to 3 / trials (rule of three), and nothing is told.
    needed = ceil(MINIMUM_ERRORS * reference.trials / (reference.errors or 3))
    short = rate.trials < needed
    if not short and identities >= MINIMUM_IDENTITIES:
        return Cell(rate, identities)
    people = MINIMUM_IDENTITIES
    if short and rate.trials:
        grown = needed / rate.trials if power == 1 else sqrt(needed / rate.trials)
        people = max(people, ceil(identities * grown))
    return Cell(rate, identities, needed if short else None, people)
