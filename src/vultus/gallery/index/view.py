"""A table at one position of the change sequence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from vultus.errors import ContractError
from vultus.evaluation.scores import lengths_of, off_unit
from vultus.gallery.index.part import Part, joined
from vultus.gallery.index.ranking import Hit
from vultus.gallery.index.search import search

AT_ONCE = 256
"""Probes searched together."""
SHRINKING = 32
"""By which part of the width the next searches ask for less, where less would have done."""
FEW = 1_024
"""Templates that are scored one by one rather than scanned, where a search is among few persons."""


class View:
    """Immutable: many threads may search it while the table changes."""

    def __init__(self, position: int, dim: int, parts: Sequence[Part], widths: dict[object, int] | None = None) -> None:
        self.position = position
        """The sequence up to which it tells."""
        self.dim = dim
        self.parts = tuple(part for part in parts if len(part))
        self._widths = {} if widths is None else widths

    def __len__(self) -> int:
        """Number of templates."""
        return sum(len(part) for part in self.parts)

    @cached_property
    def persons(self) -> int:
        """Number of persons who have a template."""
        return len(np.unique(np.concatenate([part.person_ids for part in self.parts]))) if self.parts else 0

    def search(
        self, probes: np.ndarray, k: int = 5, *, fusion: int = 1, among: np.ndarray | None = None
    ) -> list[list[Hit]]:
        """The `k` best persons for each probe, best first; equal scores by the earliest template.

        `probes`: (Q, D) float32 unit rows, rotated as the templates are. A person's score is that of their best
        template, or with `fusion` = n the mean of their n best (of all where they have fewer). `among`: int64 person
        ids; nobody else is found. The result is that of scoring every template in float32: see `codes` for how sure
        that is. Raises ContractError for probes of another dimension or length.
        """
        probes = checked_probes(probes, self.dim)
        if k < 1 or fusion < 1:
            raise ValueError("k and fusion are at least 1")
        parts, allowed = self._allowed(among)
        found: list[list[Hit]] = []
        kind = (k, fusion, len(parts)) if among is None else None
        for at in range(0, len(probes), AT_ONCE):
            width = self._widths.get(kind) or 16 + 40 * k // max(1, len(parts))
            hits, needed = search(parts, allowed, probes[at : at + AT_ONCE], k, fusion, width)
            found += hits
            if kind:
                self._widths[kind] = max(needed, k, width - width // SHRINKING)
        return found

    def count(self, among: np.ndarray | None = None) -> int:
        """How many templates a search looks at: what its false positive identification rate depends on."""
        if among is None:
            return len(self)
        persons = np.unique(np.asarray(among, np.int64))
        return sum(len(part.places_of(persons)[0]) for part in self.parts)

    def _allowed(self, among: np.ndarray | None) -> tuple[Sequence[Part], Sequence[np.ndarray | None]]:
        if among is None:
            return self.parts, [None] * len(self.parts)
        persons = np.unique(np.asarray(among, np.int64))
        places = [(part, part.places_of(persons)[0]) for part in self.parts]
        places = [(part, at) for part, at in places if len(at)]
        if not places:
            return [], []
        if sum(len(at) for _, at in places) <= FEW:
            return [joined([part.only(at) for part, at in places], self.dim)], [None]
        masks = []
        for part, at in places:
            mask = np.zeros(len(part), bool)
            mask[at] = True
            masks.append(mask)
        return [part for part, _ in places], masks


def checked_probes(probes: np.ndarray, dim: int) -> np.ndarray:
    """Contiguous (Q, dim) float32; ContractError for another shape, or a row whose length is not 1."""
    probes = np.ascontiguousarray(probes, np.float32)
    if probes.ndim != 2 or probes.shape[1] != dim:
        raise ContractError(f"probes have the shape {probes.shape}; this index needs (Q, {dim})")
    if off_unit(lengths_of(probes)).any():
        raise ContractError("probes must be unit vectors; scale each to length 1")
    return probes
