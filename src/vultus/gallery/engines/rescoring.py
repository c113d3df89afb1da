"""Candidates of an engine, scored in float32 on our side with the rows of the truth, as in the process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vultus.gallery.engines.milvus import Found, persons_in
from vultus.gallery.index import Hit
from vultus.gallery.index.part import Part
from vultus.gallery.index.ranking import Scored, rank


class Searches(Protocol):
    def search(self, probes: np.ndarray, k: int, *, among: np.ndarray | None = None) -> list[list[Found]]: ...


class Rows(Protocol):
    """What the truth has now. Of whom or what it no longer has, nothing is returned."""

    def of_templates(self, ids: np.ndarray) -> Part:
        """Templates of these ids (T,) int64, ascending by id."""
        ...

    def of_persons(self, ids: np.ndarray) -> Part:
        """Every template that is searched of these persons (P,) int64."""
        ...


def rescore(
    candidates: Sequence[Sequence[Found]], probes: np.ndarray, rows: Rows, k: int, fusion: int = 1
) -> list[list[Hit]]:
    """The best `k` persons among the candidates of each probe (Q, D) float32, best first.

    A person's score is that of their best candidate, or with `fusion` = n the mean of their n best templates (of all
    where they have fewer), candidates or not. Whose a template is and how alike it is says the truth; an engine that
    lags behind an erasure returns nobody who was erased.
    """
    probes = np.ascontiguousarray(probes, np.float32)
    numbers = np.repeat(np.arange(len(candidates)), [len(found) for found in candidates])
    if fusion == 1:
        wanted = np.array([row.template_id for found in candidates for row in found], np.int64)
        part = rows.of_templates(np.unique(wanted))
        places = np.searchsorted(part.template_ids, wanted)
        there = np.append(part.template_ids, -1)[places] == wanted
        numbers, places = np.unique(np.stack([numbers, places])[:, there], axis=1)
    else:
        persons = np.array([row.person_id for found in candidates for row in found], np.int64)
        part = rows.of_persons(np.unique(persons))
        numbers, persons = np.unique(np.stack([numbers, persons]), axis=1)
        places, whose = part.places_of(persons)
        numbers = numbers[whose]
    scores = part.score(places, probes, numbers)
    ranked = rank(Scored(numbers, part.person_ids[places], part.template_ids[places], scores), len(candidates), fusion)
    return [ranked.hits(number, k) for number in range(len(candidates))]


def search_rescored(
    engine: Searches, probes: np.ndarray, k: int, rows: Rows, *, fusion: int = 1, among: np.ndarray | None = None
) -> list[list[Hit]]:
    """The best `k` persons of an engine's collection for each probe (Q, D) float32 unit rows: `rescore`, with as many
    candidates as it takes.

    As exact as the engine: with one that compares every row, what float32 brute force over the truth returns. A mean of
    several templates is never above the best one, so persons are asked for until the last of the `k` is above whatever
    an unseen person's best template can score.
    """
    wanted = k
    while True:
        candidates = engine.search(probes, wanted, among=among)
        results = rescore(candidates, probes, rows, k, fusion)
        if all(_settled(found, hits, wanted, k, fusion) for found, hits in zip(candidates, results, strict=True)):
            return results
        wanted *= 4


def _settled(found: Sequence[Found], hits: Sequence[Hit], wanted: int, k: int, fusion: int) -> bool:
    if persons_in(found) < wanted:
        return True  # these are all there are
    if len(hits) < k:
        return False  # the truth no longer has some of them
    return fusion == 1 or hits[-1].score >= min(row.score for row in found)
