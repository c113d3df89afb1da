"""FPIR, FNIR and rank-k rates of the searches of one or more galleries, with intervals that know shared people."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np

from vultus.evaluation.comparisons import Comparisons, TwoSets, pair_key
from vultus.evaluation.intervals import (
    Interval,
    Rate,
    allowed_errors,
    join,
    mated_rate,
    people_interval,
    percentile_interval,
    wilson,
)
from vultus.evaluation.protocols.searches import NEVER, Searches

WORK = 2**29
"""Searches weighed in all resamples of one size of gallery, at about 5 ns each: beyond it, fewer resamples are made."""

FEWEST = 200
"""Resamples that are made however long they take."""


class SearchRates:
    """Rates of the searches of equally large galleries, pooled: errors of all galleries among searches of all.

    A search is found at rank R and threshold T when the mate is among the first R candidates and at or above T.
    """

    def __init__(self, galleries: Sequence[Searches], rank: int = 1) -> None:
        self.galleries = galleries
        self.rank = rank
        self.mated_identity = np.concatenate([g.mated_identity for g in galleries])
        self.ranks = np.concatenate([g.rank for g in galleries])
        self.mated_best = np.concatenate([g.mated_best for g in galleries])
        mate = np.concatenate([g.mate for g in galleries])
        self.found = np.where(self.ranks <= rank, mate, np.float32(-np.inf))
        """(M,) the highest threshold at which each mated search is still found at this rank."""
        self.stranger = np.concatenate([g.stranger for g in galleries])
        self.candidate = np.concatenate([g.candidate for g in galleries])
        self.best = np.concatenate([g.best for g in galleries])
        everybody = [self.mated_identity, self.stranger, *(g.enrolled for g in galleries)]
        self.identities = 1 + int(max(people.max(initial=0) for people in everybody))

    @property
    def mated(self) -> int:
        return len(self.ranks)

    @property
    def non_mated(self) -> int:
        return len(self.best)

    @cached_property
    def best_ascending(self) -> np.ndarray:
        return np.sort(self.best)

    def threshold(self, fpir: float) -> float:
        """The smallest float32 threshold whose FPIR over all galleries is at most `fpir` < 1."""
        allowed = allowed_errors(fpir, self.non_mated)
        return float(np.nextafter(self.best_ascending[-1 - allowed], np.float32(np.inf)))

    def fpir(self, threshold: float) -> Rate:
        """The share of non-mated searches with a candidate at or above `threshold`.

        Two searches depend on one another where they share the probe's person, and where both can raise the same
        enrolled person. To first order (few candidates above the threshold) a false positive belongs to the stranger
        and to the best candidate, as a false match belongs to its two identities, and the variance is that of
        `intervals.non_mated_rate`, in which an enrolled person is expected to cause FPIR / N of each search. It is
        never taken below that of clusters by stranger alone. The interval is over strangers and over the enrolled,
        whichever is wider (`intervals.people_interval`).
        """
        wrong = self.best >= np.float32(threshold)
        first, second, total = self.stranger[wrong], self.candidate[wrong], self.non_mated
        rate = int(wrong.sum()) / total
        own = self._count(first) - rate * self._searches_of_strangers
        both = own + self._count(second) - rate * self._searches_of_enrolled
        _, found = np.unique(pair_key(first, second, self.identities), return_counts=True)
        variance = max(float(both @ both) - float(found @ found), float(own @ own)) / total**2
        if rate in (0, 1):  # nothing is known of the dependence: at worst a person's searches all end the same way
            effective = total**2 / float(self._searches_of_strangers @ self._searches_of_strangers)
        else:
            effective = min(float(total), rate * (1 - rate) / max(variance, 1e-300))
        enrolled = self._searches_of_enrolled > 0
        people = int(enrolled.sum())  # each of them may be raised in any search
        low, high = people_interval(self._count(second)[enrolled], np.full(people, total))
        by_enrolled = (low * people, min(1.0, high * people))
        by_stranger = people_interval(self._count(first), self._searches_of_strangers)
        interval = join([wilson(int(wrong.sum()), total), by_stranger, by_enrolled])
        return Rate(int(wrong.sum()), total, interval, effective)

    def fnir(self, threshold: float) -> Rate:
        """The share of mated searches that are not found at `threshold`; clustered by the probe's person."""
        return self._mated_rate(self.found < np.float32(threshold))

    def rank_rate(self, k: int) -> Rate:
        """The share of mated searches whose mate is among the first k candidates (`errors` counts these hits)."""
        return self._mated_rate(self.ranks <= k)

    def misidentified(self, threshold: float) -> int:
        """Mated searches whose best candidate is at or above `threshold` and may be another person."""
        return int(((self.mated_best >= np.float32(threshold)) & (self.ranks > 1) & (self.ranks < NEVER)).sum())

    def fpir_spread(self, threshold: float) -> Interval:
        """The lowest and the highest FPIR of a single gallery."""
        return _spread(self.best >= np.float32(threshold), [len(g.best) for g in self.galleries])

    def fnir_spread(self, threshold: float) -> Interval:
        """The lowest and the highest FNIR of a single gallery."""
        return _spread(self.found < np.float32(threshold), [len(g.rank) for g in self.galleries])

    def fnir_at_fpir(self, fpirs: Sequence[float], resamples: int, seed: int = 0) -> list[Interval | None]:
        """95 % percentile intervals of FNIR at each FPIR, over resampled people, the threshold chosen anew in each.

        A mated search counts as often as its person is drawn; a false positive as often as the product of the draws
        of the stranger and of the best candidate (the vertex bootstrap of `intervals.IdentityBootstrap`). None where
        hardly any resample has searches of both kinds.
        """
        if not fpirs or not resamples:
            return [None] * len(fpirs)
        down = np.argsort(-self.best, kind="stable")
        kept = min(len(down), int(3 * max(fpirs) * len(down)) + 1000)
        up = np.argsort(self.found, kind="stable")
        found, owner = self.found[up], self.mated_identity[up]
        resamples = min(resamples, max(FEWEST, WORK // (len(found) + len(down))))
        rng, rows = np.random.default_rng(seed), []
        for _ in range(resamples):
            draws = np.bincount(rng.integers(self.identities, size=self.identities), minlength=self.identities)
            weights = np.concatenate([[0], np.cumsum(draws[owner])])
            searched = int(draws @ self._searches_of_strangers)
            if weights[-1] == 0 or searched == 0:
                continue
            for length in (kept, len(down)):
                at = down[:length]
                alarms = np.cumsum(draws[self.stranger[at]] * draws[self.candidate[at]])
                inside = [int(np.searchsorted(alarms, fpir * searched, side="right")) for fpir in fpirs]
                if max(inside) < length:
                    break
            borders = [self.best[down[i]] if i < len(down) else np.float32(-np.inf) for i in inside]
            lost = np.searchsorted(found, borders, side="right")
            rows.append(weights[lost] / weights[-1])
        if len(rows) < resamples / 2:
            return [None] * len(fpirs)
        return [percentile_interval(column) for column in np.array(rows).T]

    def _mated_rate(self, counted: np.ndarray) -> Rate:
        return mated_rate(self._count(self.mated_identity[counted]), self._mated_searches)

    @cached_property
    def _mated_searches(self) -> Comparisons:
        counts = TwoSets(np.ones(self.identities, np.int64), self._count(self.mated_identity))
        return cast(Comparisons, counts)

    @cached_property
    def _searches_of_strangers(self) -> np.ndarray:
        return self._count(self.stranger).astype(np.float64)

    @cached_property
    def _searches_of_enrolled(self) -> np.ndarray:
        """(G,) searches / N, summed over the galleries that each identity is enrolled in."""
        exposed = np.zeros(self.identities)
        for gallery in self.galleries:
            exposed[gallery.enrolled] += len(gallery.best) / gallery.people
        return exposed

    def _count(self, people: np.ndarray) -> np.ndarray:
        return np.bincount(people, minlength=self.identities)


def _spread(errors: np.ndarray, trials: list[int]) -> Interval:
    """The ends of the rates of consecutive runs of `trials` searches."""
    rates = [float(run.mean()) for run in np.split(errors, np.cumsum(trials)[:-1]) if len(run)]
    return (min(rates), max(rates)) if rates else (float("nan"), float("nan"))
