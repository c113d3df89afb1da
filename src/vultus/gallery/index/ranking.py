"""From scores of templates to the best persons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Hit:
    """A person that a search found."""

    person_id: int
    score: float
    """float32 cosine in [-1, 1] of the person's best template, or the mean of their best ones."""
    template_id: int
    """The person's best template; of equal ones the earliest."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Exact scores of some templates for some probes; every array has one element a template and probe."""

    probes: np.ndarray
    """The probe's number."""
    person_ids: np.ndarray
    template_ids: np.ndarray
    scores: np.ndarray

    def __add__(self, other: Scored) -> Scored:
        return Scored(
            np.concatenate([self.probes, other.probes]),
            np.concatenate([self.person_ids, other.person_ids]),
            np.concatenate([self.template_ids, other.template_ids]),
            np.concatenate([self.scores, other.scores]),
        )


@dataclass(frozen=True, eq=False)
class Ranked:
    """Persons of each probe, best first; equal ones by their best template's id."""

    starts: np.ndarray
    """(Q + 1,): the persons of probe q are starts[q] : starts[q + 1] of the arrays below."""
    person_ids: np.ndarray
    scores: np.ndarray
    template_ids: np.ndarray

    def least(self, k: int) -> np.ndarray:
        """The k-th best score of each probe, (Q,); -inf where there are fewer persons."""
        places = self.starts[:-1] + k - 1
        enough = places < self.starts[1:]
        least = np.full(len(places), -np.inf)
        least[enough] = self.scores[places[enough]]
        return least

    def hits(self, probe: int, k: int) -> list[Hit]:
        here = slice(self.starts[probe], min(self.starts[probe] + k, self.starts[probe + 1]))
        columns = (self.person_ids[here].tolist(), self.scores[here].tolist(), self.template_ids[here].tolist())
        return [Hit(*row) for row in zip(*columns, strict=True)]


def rank(scored: Scored, count: int, fusion: int) -> Ranked:
    """Persons of `count` probes by the mean of their `fusion` best scores (of all where they have fewer)."""
    order = np.lexsort((scored.template_ids, -scored.scores, scored.probes))
    probes, persons = scored.probes[order], scored.person_ids[order]
    grouped = np.lexsort((persons, probes))  # stable: a person's templates together, best first
    by_person, by_probe = persons[grouped], probes[grouped]
    changed = np.ones(len(grouped), bool)
    changed[1:] = (by_person[1:] != by_person[:-1]) | (by_probe[1:] != by_probe[:-1])
    if fusion == 1:
        best = np.sort(grouped[changed])
        scores = scored.scores[order[best]]
    else:
        firsts = np.flatnonzero(changed)
        best, sizes = grouped[firsts], np.diff(np.r_[firsts, len(grouped)])
        nth = np.arange(len(grouped)) - np.repeat(firsts, sizes)
        used = np.where(nth < fusion, scored.scores[order[grouped]].astype(np.float64), 0)
        sums = np.add.reduceat(used, firsts) if len(firsts) else np.empty(0)
        scores = (sums / np.minimum(sizes, fusion)).astype(np.float32)
        again = np.lexsort((scored.template_ids[order[best]], -scores, probes[best]))
        best, scores = best[again], scores[again]
    starts = np.searchsorted(probes[best], np.arange(count + 1))
    return Ranked(starts, persons[best], scores, scored.template_ids[order[best]])
