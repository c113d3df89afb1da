"""An exact in-process search index: a view of the change sequence that can be thrown away at any time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vultus.gallery.decision import Candidate
from vultus.gallery.old_store import Delta, Store, check_embeddings

SCORES_AT_ONCE = 1 << 24
"""Bound on probes x templates scored together: 64 MB of float32."""


class _Layout(NamedTuple):
    order: np.ndarray | None
    """Rows grouped by person; None where they lie grouped already."""
    starts: np.ndarray
    persons: np.ndarray


class Snapshot:
    """The gallery at one position of the change sequence. Immutable, so threads may search it while others enrol."""

    def __init__(
        self,
        position: int,
        embeddings: np.ndarray,
        template_ids: np.ndarray,
        person_ids: np.ndarray,
        names: Mapping[int, str],
    ) -> None:
        self.position = position
        self.embeddings = embeddings
        """(N, D) float32 unit rows."""
        self.template_ids = template_ids
        self.person_ids = person_ids
        self.names = names

    def __len__(self) -> int:
        """Number of templates."""
        return len(self.template_ids)

    @cached_property
    def _layout(self) -> _Layout:
        people = self.person_ids
        order = None
        if (np.diff(people) < 0).any():
            order = np.argsort(people, kind="stable")
            people = people[order]
        starts = np.flatnonzero(np.r_[True, people[1:] != people[:-1]])
        return _Layout(order, starts, people[starts])

    def search(self, embeddings: np.ndarray, k: int = 5) -> list[list[Candidate]]:
        """The `k` best people for each probe (Q, D) float32 unit rows, best first; equal scores by enrolment.

        A person's score is that of their best template. Exact: every template is compared.
        Raises ContractError for probes of another dimension or length.
        """
        probes = check_embeddings(embeddings, self.embeddings.shape[1])
        if not len(self):
            return [[] for _ in probes]
        block = max(1, SCORES_AT_ONCE // len(self))
        return [found for at in range(0, len(probes), block) for found in self._search(probes[at : at + block], k)]

    def _search(self, probes: np.ndarray, k: int) -> list[list[Candidate]]:
        order, starts, persons = self._layout
        scores = np.clip(probes @ self.embeddings.T, -1, 1)
        if order is not None:
            scores = scores[:, order]
        best = np.maximum.reduceat(scores, starts, axis=1)
        ends = np.r_[starts[1:], len(self)]
        results: list[list[Candidate]] = []
        for row, people in zip(scores, best, strict=True):
            candidates: list[Candidate] = []
            for person in _top(people, k):
                at = starts[person] + int(np.argmax(row[starts[person] : ends[person]]))
                template = self.template_ids[at if order is None else order[at]]
                name = self.names[int(persons[person])]
                candidates.append(Candidate(name, float(people[person]), int(template)))
            results.append(candidates)
        return results


class Index:
    """Follows a store. Every search asks it for changes first, and so never misses an acknowledged person."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._rows = np.empty((0, store.info.dim), np.float32)  # with spare room behind the snapshot's rows

    @property
    def position(self) -> int:
        """How far in the change sequence the index has got; 0 before anything."""
        return self._snapshot.position if self._snapshot else 0

    def refresh(self) -> int:
        """Catch up with the store; the position then reached."""
        return self.current().position

    def rebuild(self) -> int:
        """Throw everything away and read the store anew; the position then reached."""
        with self._lock:
            self._snapshot = None
        return self.refresh()

    def current(self) -> Snapshot:
        """A snapshot that holds every change acknowledged before the call."""
        with self._lock:
            delta = self._store.follow(self._snapshot.position if self._snapshot else None)
            if self._snapshot is None or delta.position != self._snapshot.position or delta.rebuild:
                self._snapshot = self._apply(delta)
            return self._snapshot

    def search(self, embeddings: np.ndarray, k: int = 5) -> list[list[Candidate]]:
        """`Snapshot.search` on the current snapshot."""
        return self.current().search(embeddings, k)

    def _apply(self, delta: Delta) -> Snapshot:
        old = self._snapshot
        if delta.rebuild or old is None:
            self._rows = delta.embeddings
            return Snapshot(delta.position, self._rows, delta.template_ids, delta.person_ids, dict(delta.names))
        kept, template_ids, person_ids, names = len(old), old.template_ids, old.person_ids, dict(old.names)
        if delta.forgotten & names.keys():
            keep = ~np.isin(person_ids, list(delta.forgotten))
            # A copy: the snapshots already handed out still read the old rows.
            self._rows, template_ids, person_ids = old.embeddings[keep], template_ids[keep], person_ids[keep]
            kept = len(template_ids)
            names = {person: name for person, name in names.items() if person not in delta.forgotten}
        total = kept + len(delta.template_ids)
        if total > len(self._rows):
            room = np.empty((max(total, 2 * len(self._rows)), self._rows.shape[1]), np.float32)
            room[:kept] = self._rows[:kept]
            self._rows = room
        self._rows[kept:total] = delta.embeddings
        return Snapshot(
            delta.position,
            self._rows[:total],
            np.r_[template_ids, delta.template_ids],
            np.r_[person_ids, delta.person_ids],
            names | delta.names,
        )


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the `k` largest of (P,) scores, largest first, equal ones in their order."""
    places = np.arange(len(scores))
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= least)
    return places[np.argsort(-scores[places], kind="stable")][:k]
