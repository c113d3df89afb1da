"""An engine's candidates, scored in float32 on our side with the rows of the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from vultus.gallery.engines.milvus import Found, persons_in
from vultus.gallery.index import Hit

Fetch = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Template ids (T,) int64 to the ids (U,) that the truth has and their rows (U, D) float32, in any order."""


class Searches(Protocol):
    def search(self, probes: np.ndarray, k: int, *, among: np.ndarray | None = None) -> list[list[Found]]: ...

    def templates_of(self, persons: Sequence[int]) -> list[Found]: ...


def rescore(
    candidates: Sequence[Sequence[Found]], probes: np.ndarray, fetch: Fetch, k: int, fusion: int = 1
) -> list[list[Hit]]:
    """The best `k` persons among the candidates of each probe (Q, D) float32, best first.

    A person's score is the mean of their `fusion` best candidates, or of all if there are fewer. A candidate that the
    truth no longer has is dropped: an engine that lags behind an erasure returns nobody who was erased.
    """
    wanted = np.unique(np.array([row.template_id for rows in candidates for row in rows], np.int64))
    if not len(wanted):
        return [[] for _ in candidates]
    ids, matrix = fetch(wanted)
    place = {int(template): at for at, template in enumerate(ids)}
    results = []
    for rows, probe in zip(candidates, np.asarray(probes, np.float32), strict=True):
        rows = [row for row in {row.template_id: row for row in rows}.values() if row.template_id in place]
        scores = np.clip(matrix[[place[row.template_id] for row in rows]] @ probe, -1, 1) if rows else []
        people: dict[int, list[tuple[float, int]]] = {}
        for row, score in zip(rows, scores, strict=True):
            people.setdefault(row.person_id, []).append((float(score), row.template_id))
        hits = []
        for person, scored in people.items():
            best = sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:fusion]
            hits.append(Hit(person, float(np.mean([score for score, _ in best])), best[0][1]))
        results.append(sorted(hits, key=lambda hit: (-hit.score, hit.template_id))[:k])
    return results


def search_rescored(
    engine: Searches, probes: np.ndarray, k: int, fetch: Fetch, *, fusion: int = 1, among: np.ndarray | None = None
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
        scored = candidates
        if fusion > 1:
            scored = [engine.templates_of(sorted({row.person_id for row in rows})) for rows in candidates]
        results = rescore(scored, probes, fetch, k, fusion)
        if all(_settled(rows, hits, wanted, k, fusion) for rows, hits in zip(candidates, results, strict=True)):
            return results
        wanted *= 4


def _settled(rows: Sequence[Found], hits: Sequence[Hit], wanted: int, k: int, fusion: int) -> bool:
    if persons_in(rows) < wanted:
        return True  # these are all there are
    if len(hits) < k:
        return False  # the truth no longer has some of them
    return fusion == 1 or hits[-1].score >= min(row.score for row in rows)
