"""A measured error rate and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

from vultus.evaluation.intervals.wilson import Interval


@dataclass(frozen=True)
class Rate:
    """`errors` among `trials` comparisons.

    interval    95 %, over people where it is known whose comparisons they are (`dependence`); more errors never lower
                an end of it
    effective   how many independent comparisons would be as sure as these, which share people
    bootstrap   percentile interval over resampled identities, where it was asked for
    """

    errors: int
    trials: int
    interval: Interval
    effective: float
    bootstrap: Interval | None = None

    @property
    def value(self) -> float:
        """errors / trials; NaN without trials."""
        return self.errors / self.trials if self.trials else float("nan")
