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
class Ranked:
    """Persons, best first; equal ones by their best template's id."""

    person_ids: np.ndarray
    scores: np.ndarray
    template_ids: np.ndarray

    def least(self, k: int) -> float:
        """The k-th best score; -inf where there are fewer persons."""
        return float(self.scores[k - 1]) if len(self.scores) >= k else -np.inf

    def hits(self, k: int) -> list[Hit]:
        columns = (self.person_ids[:k].tolist(), self.scores[:k].tolist(), self.template_ids[:k].tolist())
        return [Hit(*row) for row in zip(*columns, strict=True)]


def rank(person_ids: np.ndarray, template_ids: np.ndarray, scores: np.ndarray, fusion: int) -> Ranked:
    """Persons by the mean of their `fusion` best templates' scores (of all where they have fewer)."""
    order = np.lexsort((template_ids, -scores))
    person_ids, template_ids, scores = person_ids[order], template_ids[order], scores[order]
    grouped = np.argsort(person_ids, kind="stable")  # a person's templates together, best first
    people = person_ids[grouped]
    starts = np.flatnonzero(np.r_[True, people[1:] != people[:-1]]) if len(people) else np.empty(0, np.intp)
    best = grouped[starts]
    if fusion == 1:
        best.sort()
        return Ranked(person_ids[best], scores[best], template_ids[best])
    sizes = np.diff(np.r_[starts, len(people)])
    places = np.arange(len(people)) - np.repeat(starts, sizes)
    used = np.where(places < fusion, scores[grouped].astype(np.float64), 0)
    sums = np.add.reduceat(used, starts) if len(starts) else np.empty(0)
    means = (sums / np.minimum(sizes, fusion)).astype(np.float32)
    order = np.lexsort((template_ids[best], -means))
    best = best[order]
    return Ranked(person_ids[best], means[order], template_ids[best])
