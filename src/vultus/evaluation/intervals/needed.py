"""How much data a statement would need: what a withheld rate and an undecided requirement tell the reader."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist

from vultus.evaluation.comparisons import Comparisons, Listed
from vultus.evaluation.intervals.rate import Rate
from vultus.evaluation.intervals.wilson import needed_comparisons


@dataclass(frozen=True)
class Needed:
    """Non-mated `comparisons` in all, and the `identities` that give so many in the same design (None: unknown)."""

    comparisons: int
    identities: int | None = None


def needed_for(far: float, comparisons: Comparisons | None = None) -> Needed:
    """What would support `far` with 10 expected false matches, with as many images a person as there are now.

    Comparisons grow with the square of the people where all are compared with all, and in proportion where they are
    listed.
    """
    wanted = needed_comparisons(far)
    if comparisons is None:
        return Needed(wanted)
    people = int((comparisons.non_mated > 0).sum())
    present = int(comparisons.non_mated.sum()) // 2
    if present == 0:
        return Needed(wanted)
    if isinstance(comparisons, Listed):
        return Needed(wanted, ceil(people * wanted / present))
    # present = c people (people - 1), and the same c for more people.
    pairs = wanted / present * people * (people - 1)
    return Needed(wanted, max(2, ceil((1 + sqrt(1 + 4 * pairs)) / 2)))


def effective_to_exclude(rate: float, goal: float, confidence: float = 0.95) -> float | None:
    """How many effective comparisons put `goal` outside the Wilson interval of `rate`; None where the two are equal.

    The interval holds just those goals g with (rate - g)^2 <= z^2 g (1 - g) / n.
    """
    if rate == goal:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return z**2 * goal * (1 - goal) / (rate - goal) ** 2


def identities_to_exclude(rate: Rate, goal: float, identities: int, confidence: float = 0.95) -> int | None:
    """About how many identities of the same kind would decide whether `rate` keeps to `goal`.

    Supposes that the rate stays what it is and that the effective number of comparisons grows as the identities do
    (the width of an interval as 1 / sqrt(identities)); with non-mated comparisons it grows faster, so fewer may do.
    None where the rate equals the goal, or there is no data. At least `identities` where they decide it already.
    """
    if not rate.trials or not rate.effective:
        return None
    wanted = effective_to_exclude(rate.value, goal, confidence)
    return None if wanted is None else max(identities, ceil(identities * wanted / rate.effective))


def rule_of_three(trials: float, confidence: float = 0.95) -> float:
    """The largest rate that `trials` independent comparisons without an error leave open: about 3 / trials at 95 %."""
    return 1.0 if trials <= 0 else 1 - (1 - confidence) ** (1 / trials)


def rule_of_thirty(errors: int) -> bool:
    """Whether the true rate lies within 30 % of the measured one with 90 % confidence (Doddington et al. 2000).

    It holds from 30 errors on, and for independent comparisons.
    """
    return errors >= 30
