"""1:N searches: every probe against every enrolled person, in bounded memory.

Of each search only what the error rates need is kept: the best score and whose it is, the score of the probe's own
person and its rank. A list of candidates is never stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from vultus.errors import VultusError

Fuse = Literal["max", "mean"]
"""How a person's templates make one score: the highest of theirs, or the cosine to the mean of the embeddings."""

CELLS = 2**22
"""Scores held at once (16 MiB of float32)."""

COLUMNS = 2**16
"""Templates in one product. A larger gallery is walked in parts; its mated probes are then multiplied twice."""

NEVER = np.iinfo(np.int64).max
"""The rank of a person who is not among the candidates at all."""


class Found(NamedTuple):
    """What a search of P probes kept; people are identity codes.

    best       (P,) float32 in [-1, 1]: the highest person's score
    candidate  (P,) int64: who that is; of equal scores the person with the lowest code
    mate       (P,) float32: the score of the probe's own person; -inf where that person is not enrolled
    rank       (P,) int64: how many people score at least `mate`, the mate included; NEVER where not enrolled
    """

    best: np.ndarray
    candidate: np.ndarray
    mate: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True, eq=False)
class Split:
    """What a gallery is made of and searched for: rows of a set of embeddings, (E,), (M,) and (K,) int64.

    mated_missing       (F,) identity codes: photographs of enrolled people in which no face was found
    strangers_missing   how many such photographs show people who are not enrolled
    """

    enrolled: np.ndarray
    mated: np.ndarray
    strangers: np.ndarray
    mated_missing: np.ndarray
    strangers_missing: int


@dataclass(frozen=True, eq=False)
class Searches:
    """The searches of one gallery. Identities are codes that all galleries of one evaluation share.

    `enrolled` (N,): the people of the gallery, ascending; `templates` of them in all.
    Mated ones: `mated_identity` (M,), `mate` (M,) float32, `rank` (M,), `mated_best` (M,) float32. A search that
    failed, because no face was found in the probe, has mate = best = -inf and rank NEVER.
    Non-mated ones: `stranger` (K,), `best` (K,) float32, `candidate` (K,) the enrolled person of that score;
    `strangers_without_face` more photographs are left out.
    """

    enrolled: np.ndarray
    templates: int
    mated_identity: np.ndarray
    mate: np.ndarray
    rank: np.ndarray
    mated_best: np.ndarray
    failures: int
    stranger: np.ndarray
    best: np.ndarray
    candidate: np.ndarray
    strangers_without_face: int

    @property
    def people(self) -> int:
        return len(self.enrolled)


def search(enrolled: np.ndarray, owners: np.ndarray, probes: np.ndarray, identities: np.ndarray) -> Found:
    """Search probes (P, D) of the people `identities` (P,) in the templates (E, D) of the people `owners` (E,).

    Embeddings are float32 unit rows, people integers. A person's score is the highest of the person's templates. The
    rank counts ties against the system: somebody else with the same score stands before the mate. One template
    enrolled twice may differ from itself in the last bit (about 1e-7), as the matrix product rounds by position.
    """
    order = np.argsort(owners, kind="stable")
    enrolled, people, starts = enrolled[order], *np.unique(owners[order], return_index=True)
    spans = list(_spans(np.append(starts, len(owners))))
    at = np.searchsorted(people, identities)
    at[at == len(people)] = 0
    known = people[at] == identities
    found = Found(
        np.full(len(probes), -np.inf, np.float32),
        np.zeros(len(probes), np.int64),
        np.full(len(probes), -np.inf, np.float32),
        np.where(known, 0, NEVER),
    )
    step = max(1, CELLS // min(COLUMNS, len(owners)))
    for row in range(0, len(probes), step):
        rows = slice(row, row + step)
        mates = np.flatnonzero(known[rows])
        scores = np.empty((0, 0), np.float32)
        for first, last in spans:
            scores = _scores(probes[rows], enrolled, starts, first, last)
            best = scores.argmax(axis=1)
            height = scores[np.arange(len(scores)), best]
            better = height > found.best[rows]
            found.best[rows][better] = height[better]
            found.candidate[rows][better] = people[first + best[better]]
            own = mates[(first <= at[rows][mates]) & (at[rows][mates] < last)]
            found.mate[rows][own] = scores[own, at[rows][own] - first]
        for first, last in spans if len(mates) else ():
            if len(spans) > 1:
                scores = _scores(probes[rows], enrolled, starts, first, last)
            found.rank[rows][mates] += (scores[mates] >= found.mate[rows][mates, None]).sum(axis=1)
    return found


def searches(embeddings: np.ndarray, codes: np.ndarray, split: Split, fuse: Fuse = "max") -> Searches:
    """The searches of one gallery of embeddings (N, D) of the people codes (N,)."""
    if fuse not in ("max", "mean"):
        raise VultusError(f"fuse is {fuse!r}: give 'max' or 'mean'")
    templates, owners = embeddings[split.enrolled], codes[split.enrolled]
    if fuse == "mean":
        templates, owners = mean_templates(templates, owners)
    own = search(templates, owners, embeddings[split.mated], codes[split.mated])
    others = search(templates, owners, embeddings[split.strangers], codes[split.strangers])
    failures = len(split.mated_missing)
    lost = np.full(failures, -np.inf, np.float32)
    return Searches(
        enrolled=np.unique(owners).astype(np.int64),
        templates=len(owners),
        mated_identity=np.concatenate([codes[split.mated], split.mated_missing]).astype(np.int64),
        mate=np.concatenate([own.mate, lost]),
        rank=np.concatenate([own.rank, np.full(failures, NEVER)]),
        mated_best=np.concatenate([own.best, lost]),
        failures=failures,
        stranger=codes[split.strangers].astype(np.int64),
        best=others.best,
        candidate=others.candidate,
        strangers_without_face=split.strangers_missing,
    )


def mean_templates(templates: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One template a person: the mean of the person's embeddings, of unit length; (G, D) float32 and (G,) people."""
    people, codes = np.unique(owners, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(people)))
    total = np.add.reduceat(templates[order].astype(np.float64), starts, axis=0)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    if lengths.min() < 1e-6:
        person = people[int(lengths.argmin())]
        raise VultusError(f"the templates of person {person} cancel out: they have no mean; enrol them with fuse='max'")
    return (total / lengths).astype(np.float32), people


def _spans(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of people whose templates are at most COLUMNS (one person may have more)."""
    first = 0
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + COLUMNS, side="right")) - 1)
        yield first, last
        first = last


def _scores(probes: np.ndarray, enrolled: np.ndarray, starts: np.ndarray, first: int, last: int) -> np.ndarray:
    """(R, last - first) float32 scores of these people in [-1, 1]."""
    begin = starts[first]
    end = starts[last] if last < len(starts) else len(enrolled)
    scores = probes @ enrolled[begin:end].T
    if end - begin > last - first:
        scores = np.maximum.reduceat(scores, starts[first:last] - begin, axis=1)
    return np.clip(scores, -1, 1, out=scores)
