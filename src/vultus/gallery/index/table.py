"""What changes: the rows of a collection, following its change sequence."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vultus.errors import ContractError
from vultus.evaluation.scores import lengths_of, off_unit
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
        self._tail = _Tail.empty(dim)
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
        if off_unit(lengths_of(rows)).any():
            raise ContractError("templates must be unit vectors")
        fresh = Part(rows, np.asarray(delta.template_ids, np.int64), np.asarray(delta.person_ids, np.int64))
        with self._lock:
            coded, tail, newest = list(self._coded), self._tail, self._newest
            if delta.rebuild:
                coded, tail, newest = [], _Tail.empty(self.dim), -1
            elif delta.position < self.position:
                return
            again = fresh.template_ids[fresh.template_ids <= newest]  # rows that come again replace what is there
            going = _Going(np.r_[np.asarray(delta.removed_templates, np.int64), again], delta.removed_persons)
            coded, tail = self._without(coded, tail, going)
            coded, tail = self._with(coded, tail, fresh)
            # Nothing has changed until here: whatever went wrong, the same delta can be applied again.
            self._coded, self._tail = coded, tail
            self._newest = max(newest, int(fresh.template_ids.max(initial=-1)))
            self._view = View(delta.position, self.dim, [*coded, tail.part()], self._widths)

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
                table._tail = table._tail.plus(part)
        table._view = View(view.position, view.dim, [*table._coded, table._tail.part()], table._widths)
        return table

    def _without(self, coded: list[Part], tail: _Tail, going: _Going) -> tuple[list[Part], _Tail]:
        """Parts and tail without some rows; a part that had one of them is made anew, codes and all."""
        kept, small = [], []
        for part in coded:
            keep = going.kept_of(part)
            if keep is None:
                kept.append(part)
            elif np.count_nonzero(keep) < MOST_ROWS // 2:  # joins others, so that parts do not become many and small
                small.append(part.only(keep))
            else:
                kept.append(part.only(keep).coded())
        keep = going.kept_of(tail.part())
        if keep is not None:
            tail = _Tail.empty(self.dim).plus(tail.part().only(keep))
        for part in small:
            kept, tail = self._with(kept, tail, part)
        return kept, tail

    def _with(self, coded: list[Part], tail: _Tail, fresh: Part) -> tuple[list[Part], _Tail]:
        if len(tail) + len(fresh) <= self._most_tail:
            return coded, tail.plus(fresh)
        rows = [tail.part(), fresh]
        if coded and len(coded[-1]) < MOST_ROWS:
            *coded, last = coded
            rows.insert(0, last)
        rows = [part for part in rows if len(part)]
        whole = rows[0] if len(rows) == 1 else joined(rows, self.dim)  # a first filling is not copied twice
        return [*coded, *(part.coded() for part in cut(whole))], _Tail.empty(self.dim)


@dataclass(frozen=True, eq=False)
class _Going:
    """What is to be forgotten."""

    templates: np.ndarray
    persons: np.ndarray

    def kept_of(self, part: Part) -> np.ndarray | None:
        """A mask of the rows that stay; None where all do."""
        if not len(part) or (not len(self.templates) and not len(self.persons)):
            return None
        keep = ~(np.isin(part.template_ids, self.templates) | np.isin(part.person_ids, self.persons))
        return None if keep.all() else keep


@dataclass(frozen=True, eq=False)
class _Tail:
    """Fresh rows in arrays with room behind them, which longer tails and parts share. Only the latest grows."""

    size: int
    rows: np.ndarray
    template_ids: np.ndarray
    person_ids: np.ndarray

    @classmethod
    def empty(cls, dim: int) -> _Tail:
        return cls(0, np.empty((0, dim), np.float32), np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return self.size

    def part(self) -> Part:
        return Part(self.rows[: self.size], self.template_ids[: self.size], self.person_ids[: self.size])

    def plus(self, fresh: Part) -> _Tail:
        total = self.size + len(fresh)
        arrays = (self.rows, self.template_ids, self.person_ids)
        if total > len(self.template_ids):
            room = max(total, 2 * self.size)
            arrays = tuple(_grown(array[: self.size], room) for array in arrays)
        for array, more in zip(arrays, (fresh.rows, fresh.template_ids, fresh.person_ids), strict=True):
            array[self.size : total] = more
        return _Tail(total, *arrays)


def _grown(array: np.ndarray, room: int) -> np.ndarray:
    larger = np.empty((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
