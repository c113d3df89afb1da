"""Mated comparisons without a score: a photograph in which no face was found cannot match its own person."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.comparisons import Comparisons


@dataclass(frozen=True, eq=False)
class WithFailures:
    """`scored` comparisons and, beside them, `failures` (G,) mated ones without a score.

    Non-mated comparisons without a score are no part of it: a face that was not found is no correct rejection.
    """

    scored: Comparisons
    failures: np.ndarray

    @cached_property
    def mated(self) -> np.ndarray:
        return self.scored.mated + self.failures

    @property
    def non_mated(self) -> np.ndarray:
        return self.scored.non_mated

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return self.scored.between(first, second)

    @property
    def squares(self) -> float:
        return self.scored.squares

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        return self.scored.weighted(weights)


def with_failures(scored: object, failures: np.ndarray | None) -> Comparisons:
    """`scored` (a `Comparisons`), and the failures where there are any."""
    comparisons = cast(Comparisons, scored)
    if failures is None or not failures.any():
        return comparisons
    return cast(Comparisons, WithFailures(comparisons, failures))


def by_identity(failures: int | np.ndarray, identities: int) -> np.ndarray | None:
    """(G,) int64 failures of each identity, or None where only a total above zero is known."""
    if np.ndim(failures) == 0:
        if failures < 0:
            raise VultusError(f"mated failures: {failures} is no number of comparisons")
        return None if failures else np.zeros(identities, np.int64)
    counts = np.asarray(failures)
    if counts.shape != (identities,) or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise VultusError(
            f"mated failures of shape {counts.shape}: give their number, or a count for each of the "
            f"{identities} identities"
        )
    return counts.astype(np.int64)
