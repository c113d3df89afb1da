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
    """Digest of the whole dataset's crops."""
    train: frozenset[str]
    validation: frozenset[str]

    @classmethod
    def of(cls, train: FaceDataset, validation: FaceDataset | None) -> Seen:
        same = validation is not None and validation.info["digest"] == train.info["digest"]
        return cls(train.info["digest"], _hashes(train), _hashes(validation) if validation and same else frozenset())

    def overlap(self, data: FaceDataset) -> tuple[int, int]:
        """How many identities of `data` were (trained on, used to choose the checkpoint)."""
        if data.info["digest"] != self.dataset:
            return 0, 0
        hashes = _hashes(data)
        return len(hashes & self.train), len(hashes & self.validation)

    def to_dict(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "train": sorted(self.train), "validation": sorted(self.validation)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any] | None) -> Seen | None:
        if not fields:
            return None
        return cls(fields["dataset"], frozenset(fields["train"]), frozenset(fields["validation"]))


def _hashes(data: FaceDataset) -> frozenset[str]:
    return frozenset(hashlib.sha256(name.encode()).hexdigest()[:16] for name in data.identities)
