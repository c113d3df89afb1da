"""Whom a model has seen: enough to notice that a figure or a threshold comes from people it was trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from vultus.data.dataset import FaceDataset


@dataclass(frozen=True)
class Seen:
    """Hashed identities of one dataset, by their part in training. Names stay out of model files.

    Splitting again, moving the dataset or capping images changes nothing; another dataset cannot be compared.
    """

    dataset: str
    """Digest of the whole dataset's crops (`FaceDataset.people`)."""
    train: frozenset[str]
    validation: frozenset[str]
    earlier: tuple[Seen, ...] = ()
    """Of other datasets, that a network was trained on before this one."""

    @classmethod
    def of(cls, train: FaceDataset, validation: FaceDataset | None) -> Seen:
        same = validation is not None and validation.people == train.people
        return cls(train.people, _hashes(train), _hashes(validation) if validation and same else frozenset())

    def overlap(self, data: FaceDataset) -> tuple[int, int]:
        """How many identities of `data` were (trained on, used to choose the checkpoint)."""
        for seen in (self, *self.earlier):
            if data.people == seen.dataset:
                hashes = _hashes(data)
                return len(hashes & seen.train), len(hashes & seen.validation)
        return 0, 0

    def after(self, ancestor: Seen | None) -> Seen:
        """This, of a network that was trained as `ancestor` says before; one entry a dataset, what both saw merged."""
        merged: dict[str, Seen] = {self.dataset: self}
        for seen in (ancestor, *ancestor.earlier) if ancestor else ():
            now = merged.get(seen.dataset)
            merged[seen.dataset] = Seen(
                seen.dataset,
                seen.train | now.train if now else seen.train,
                seen.validation | now.validation if now else seen.validation,
            )
        own = merged.pop(self.dataset)
        return Seen(own.dataset, own.train, own.validation, tuple(merged.values()))

    def to_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "dataset": self.dataset,
            "train": sorted(self.train),
            "validation": sorted(self.validation),
        }
        if self.earlier:
            fields["earlier"] = [seen.to_dict() for seen in self.earlier]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any] | None) -> Seen | None:
        if not fields:
            return None
        earlier = tuple(seen for item in fields.get("earlier", ()) if (seen := cls.from_dict(item)) is not None)
        return cls(fields["dataset"], frozenset(fields["train"]), frozenset(fields["validation"]), earlier)


def hash_name(name: str) -> str:
    """An identity's name as model files and runs keep it: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _hashes(data: FaceDataset) -> frozenset[str]:
    return frozenset(map(hash_name, data.identities))
