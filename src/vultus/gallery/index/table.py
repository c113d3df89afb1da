"""What changes: the rows of a collection, following its change sequence."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from vultus.errors import ContractError
from vultus.gallery.delta import Delta
from vultus.gallery.index import snapshot
from vultus.gallery.index.codes import MOST_ROWS
from vultus.gallery.index.part import Part, cut, joined
from vultus.gallery.index.view import View

TAIL = 2_048
"""Fresh rows that are scored in float32 before they get codes."""


class Table:
    """Rows with codes in parts that never change, and a tail of fresh rows. Changes make new parts, never alter one:
    views handed out before stay what they are. One thread changes it at a time; others wait.
    """

    def __init__(self, dim: int, *, tail: int = TAIL) -> None:
        self.dim = dim
        self._most_tail = tail
        self._lock = threading.Lock()
        self._coded: list[Part] = []
        self._tail = _Tail(dim)
        self._newest = -1  # no template here has a greater id
        self._widths: dict[object, int] = {}  # what the last searches needed: a hint that views hand on
        self._view = View(0, dim, [])

    @property
    def position(self) -> int:
        """How far in the change sequence it has got; 0 before anything."""
        return self._view.position

    def view(self) -> View:
        """The table as it is now."""
        return self._view

    def apply(self, delta: Delta) -> None:
        """Follow a change. The same change twice, or one that is already contained, alters nothing.

        Rows that go leave the memory of the table, float32 and codes, before this returns. Raises ContractError for
        rows that are not (N, D) float32 unit vectors.
        """
        rows = np.ascontiguousarray(delta.embeddings, np.float32)
        if rows.shape != (len(delta.template_ids), self.dim) or len(delta.person_ids) != len(rows):
            raise ContractError(f"rows have the shape {rows.shape}; this index needs (N, {self.dim}), N ids")
        if not np.all(np.abs(np.einsum("ij,ij->i", rows, rows) - 1) < 1e-3):
            raise ContractError("templates must be unit vectors")
        fresh = Part(rows, np.asarray(delta.template_ids, np.int64), np.asarray(delta.person_ids, np.int64))
        with self._lock:
            if delta.rebuild:
                self._coded, self._tail, self._newest = [], _Tail(self.dim), -1
            elif delta.position < self.position:
                return
            else:
                self._drop(delta, fresh)
            self._add(fresh)
            self._newest = max(self._newest, int(fresh.template_ids.max(initial=-1)))
            self._view = View(delta.position, self.dim, [*self._coded, self._tail.part()], self._widths)

    def save(self, path: Path, key: bytes, about: dict[str, Any]) -> None:
        """See `snapshot.save`: the table as it is now, while it may go on changing."""
        snapshot.save(self._view, path, key, about)

    @classmethod
    def load(cls, path: Path, key: bytes, about: dict[str, Any]) -> Table:
        """The table that `save` wrote, at its position. SnapshotError where it must be built anew."""
        view = snapshot.load(path, key, about)
        table = cls(view.dim)
        table._coded = [part for part in view.parts if part.codes]
        for part in view.parts:
            table._newest = max(table._newest, int(part.template_ids.max(initial=-1)))
            if part.codes is None:
                table._tail.add(part)
        table._view = View(view.position, view.dim, [*table._coded, table._tail.part()], table._widths)
        return table

    def _drop(self, delta: Delta, fresh: Part) -> None:
        """Forget removed persons and templates, and rows that are about to come again."""
        again = fresh.template_ids[fresh.template_ids <= self._newest]
        templates, persons = np.r_[delta.removed_templates, again], delta.removed_persons
        if not len(templates) and not len(persons):
            return
        small = []
        for at, part in enumerate(self._coded):
            keep = ~(np.isin(part.template_ids, templates) | np.isin(part.person_ids, persons))
            if not keep.all():
                rest = part.only(keep)
                if len(rest) < MOST_ROWS // 2:  # joins others, so that parts do not become many and small
                    small.append(rest)
                    rest = rest.only(np.empty(0, np.intp))
                self._coded[at] = rest.coded() if len(rest) else rest
        self._coded = [part for part in self._coded if len(part)]
        tail = self._tail.part()
        keep = ~(np.isin(tail.template_ids, templates) | np.isin(tail.person_ids, persons))
        if not keep.all():
            self._tail = _Tail(self.dim)
            self._tail.add(tail.only(keep))
        for part in small:
            self._add(part)

    def _add(self, fresh: Part) -> None:
        if len(self._tail) + len(fresh) <= self._most_tail:
            self._tail.add(fresh)
            return
        rows = [self._tail.part(), fresh]
        if self._coded and len(self._coded[-1]) < MOST_ROWS:
            rows.insert(0, self._coded.pop())
        for part in cut(joined(rows, self.dim)):
            self._coded.append(part.coded())
        self._tail = _Tail(self.dim)


class _Tail:
    """Fresh rows in arrays with room behind them. Parts share what was there when they were made."""

    def __init__(self, dim: int) -> None:
        self._size = 0
        self._rows = np.empty((0, dim), np.float32)
        self._template_ids = np.empty(0, np.int64)
        self._person_ids = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._size

    def part(self) -> Part:
        return Part(self._rows[: self._size], self._template_ids[: self._size], self._person_ids[: self._size])

    def add(self, fresh: Part) -> None:
        total = self._size + len(fresh)
        if total > len(self._template_ids):
            room = max(total, 2 * self._size)
            self._rows = _grown(self._rows[: self._size], room)
            self._template_ids = _grown(self._template_ids[: self._size], room)
            self._person_ids = _grown(self._person_ids[: self._size], room)
        self._rows[self._size : total] = fresh.rows
        self._template_ids[self._size : total] = fresh.template_ids
        self._person_ids[self._size : total] = fresh.person_ids
        self._size = total


def _grown(array: np.ndarray, room: int) -> np.ndarray:
    larger = np.empty((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
