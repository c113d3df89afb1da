"""Some rows of a table, immutable: what is scanned, rescored and looked up by person."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vultus.gallery.index.codes import MOST_ROWS, Codes

MOST_CODED = 2_048
"""Best rows asked of codes; where more are needed, all rows are scored."""


@dataclass(frozen=True, eq=False)
class Part:
    """Up to MOST_ROWS templates. Without codes (few rows, or fresh ones) a scan scores them in float32."""

    rows: np.ndarray
    """(n, D) float32 unit rows."""
    template_ids: np.ndarray
    """(n,) int64."""
    person_ids: np.ndarray
    """(n,) int64."""
    codes: Codes | None = None

    def __len__(self) -> int:
        return len(self.template_ids)

    @property
    def slack(self) -> float:
        """How far the scores of `scan` may be off: with codes see there, without the rounding of float32 sums."""
        return self.codes.slack if self.codes else self.rows.shape[1] * 2.0**-23

    def coded(self) -> Part:
        """The same rows with codes."""
        return Part(self.rows, self.template_ids, self.person_ids, Codes.of(self.rows))

    def scan(self, probes: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """See `Codes.scan`. More than `k` may come back."""
        if self.codes and k <= MOST_CODED:
            return self.codes.scan(probes, k, allowed)
        scores = probes @ self.rows.T
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        floors = np.full(len(probes), -np.inf)
        if k >= scores.shape[1] or k > MOST_CODED:
            return scores, np.broadcast_to(np.arange(scores.shape[1]), scores.shape), floors
        places = np.argpartition(scores, -k - 1, axis=1)[:, -k - 1 :]  # the first is the best of those left out
        best = np.take_along_axis(scores, places, 1)
        return best[:, 1:], places[:, 1:], best[:, 0]

    def score(self, places: np.ndarray, probes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Cosines of the rows at `places` (m,) with those of the probes (Q, D) whose `numbers` (m,) are given.

        (m,) float32 in [-1, 1]: the same for equal rows wherever they lie, which a matrix product does not promise.
        """
        rows = self.rows.take(places, 0)
        if len(probes) == 1:
            return np.clip(np.einsum("ij,j->i", rows, probes[0]), -1, 1)
        return np.clip(np.einsum("ij,ij->i", rows, probes.take(numbers, 0)), -1, 1)

    @cached_property
    def _by_person(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.person_ids, kind="stable")
        return order, self.person_ids[order]

    def places_of(self, persons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of these persons, and for each the place in `persons` of whose it is."""
        order, sorted_ids = self._by_person
        starts = np.searchsorted(sorted_ids, persons, "left")
        counts = np.searchsorted(sorted_ids, persons, "right") - starts
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return order[np.repeat(starts, counts) + steps], np.repeat(np.arange(len(counts)), counts)

    def only(self, keep: np.ndarray) -> Part:
        """A copy without the other rows: neither their float32 nor their codes are in it. `keep`: places or a mask."""
        return Part(self.rows[keep], self.template_ids[keep], self.person_ids[keep])


def joined(parts: list[Part], dim: int) -> Part:
    """The rows of several parts in one, without codes."""
    return Part(
        np.concatenate([np.empty((0, dim), np.float32), *(part.rows for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.template_ids for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.person_ids for part in parts)]),
    )


def cut(part: Part) -> list[Part]:
    """Any number of rows in parts of at most MOST_ROWS, without codes, each with memory of its own."""
    starts = range(0, len(part), MOST_ROWS)
    return [part.only(np.arange(at, min(at + MOST_ROWS, len(part)))) for at in starts]
