"""Choosing the best checkpoint: 1:1 verification on identities that are neither trained on nor kept for the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.evaluation import verify_all_pairs
from vultus.models.crops import embed_crops

if TYPE_CHECKING:
    import torch

RESERVED = ("test", "calibration")
"""Splits that no training run may look at."""
FARS = (1e-2, 1e-1)
"""The lower one that the validation data supports is used."""
FINE_FARS = (1e-3, *FARS)
"""For fine-tuning: a network that works already passes nearly everybody at the others."""
IMAGES = 4000
"""At most this many crops, whole identities, so that validating stays short beside training."""


@dataclass(frozen=True)
class ValidationResult:
    tar: float
    far: float
    auc: float


Figures = tuple[float, float]


@dataclass
class Selection:
    """Which validation was the best so far, and when enough of them brought nothing."""

    patience: int | None
    before: Figures | None = None
    """TAR and AUC of the network that is fine-tuned, before the first step: a checkpoint is only better than this."""
    best: Figures = (-1.0, -1.0)
    """Highest TAR after a step, and the AUC that decides between equal ones."""
    stale: int = 0
    """Validations in a row that were not better."""

    def better(self, result: ValidationResult) -> bool:
        """Take in the next validation."""
        now = (result.tar, result.auc)
        better = now > max(self.best, self.before or self.best)
        self.best, self.stale = max(self.best, now), 0 if better else self.stale + 1
        return better

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.stale >= self.patience

    @property
    def helped(self) -> bool | None:
        """Whether training made a better network than there was; None where nobody measured."""
        return None if self.before is None else self.best > self.before

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"best": list(self.best), "stale": self.stale, "before": self.before and list(self.before)}

    def restore(self, state: dict[str, Any]) -> None:
        """`best` was the TAR alone in older checkpoints."""
        tar, auc = state["best"] if isinstance(state["best"], list) else (float(state["best"]), -1.0)
        self.best, self.stale = (tar, auc), int(state.get("stale", 0))
        if before := state.get("before"):
            self.before = (before[0], before[1])

    def words(self) -> str:
        """Before and after."""
        return " before, ".join(f"TAR {tar:.4f} (AUC {auc:.4f})" for tar, auc in (self.before or self.best, self.best))


class Validation:
    """Crops of the validation identities, decoded once."""

    def __init__(self, data: FaceDataset, fars: tuple[float, ...] = FARS) -> None:
        self.data, self.title, self.fars = data, data.title, fars
        self._crops, self._labels = data.crops(), data.labels

    @classmethod
    def prepare(cls, path: str | None, trained: FaceDataset, fars: tuple[float, ...] = FARS) -> Validation | None:
        """None where there is no validation split. Raises `VultusError` where it shares an identity with training."""
        if path is None:
            return None
        data = FaceDataset.open(path)
        if data.name in RESERVED:
            raise VultusError(
                f"data.validation={path}: the {data.name} split is kept for the end; choosing a checkpoint on it would "
                "make its figures a lie"
            )
        shared = set(data.identities) & set(trained.identities)
        if shared and data.people == trained.people:
            raise VultusError(
                f"data.validation={path} shares {len(shared)} identities with the training data; split again"
            )
        data = data.at_least(2).at_most(10)
        if len(data) > IMAGES:
            data = data.subset(
                np.flatnonzero(data.labels <= data.labels[np.argsort(data.labels, kind="stable")[IMAGES]])
            )
        return cls(data, fars)

    def measure(self, network: torch.nn.Module) -> ValidationResult:
        """TAR at a FAR that the data supports, and AUC."""
        embeddings = embed_crops(network, self._crops)
        if not np.isfinite(embeddings).all():
            raise VultusError("the network gives NaN on validation crops; lower optimizer.lr")
        found = verify_all_pairs(embeddings, self._labels, self.fars)
        for point in found.points:
            if point.tar is not None:
                return ValidationResult(point.tar, point.far, found.auc)
        return ValidationResult(found.auc, float("nan"), found.auc)


def check_training_data(data: FaceDataset) -> None:
    """Raises `VultusError` where `data` holds people that the end is kept for, or one person only."""
    if data.name in RESERVED:
        raise VultusError(f"data.train={data.title}: the {data.name} split is kept for the end; train on another")
    if data.name is None and data.splits:
        raise VultusError(
            f"data.train={data.root} is the whole dataset with its test people; name a split, as {data.root}/"
            f"{'train' if 'train' in data.splits else next(iter(data.splits))}"
        )
    if len(data.identities) < 2:
        raise VultusError(f"{data.title} holds one identity only; a recogniser learns from telling people apart")


def validation_split(train: str, wanted: str | None) -> str | None:
    """The split named in the recipe, or `val` beside the training split if there is one."""
    if wanted is not None:
        return wanted
    sibling = Path(train).parent / "val"
    there = (sibling.parent / "splits" / "val.npy").is_file() and Path(train).name != "val"
    return str(sibling) if there else None
