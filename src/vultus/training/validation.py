"""Choosing the best checkpoint: 1:1 verification on identities that are neither trained on nor kept for the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vultus.data import FaceDataset
from vultus.data.degrade import SHIFTS
from vultus.errors import VultusError
from vultus.evaluation import verify
from vultus.evaluation.intervals import Difference, IdentityBootstrap, difference_interval
from vultus.evaluation.intervals.at_far import errors_at_far
from vultus.evaluation.intervals.seeds import SeedResult
from vultus.evaluation.scores import all_pairs
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


RESAMPLES = 400
"""Of the people, for the interval of what fine-tuning changed."""


@dataclass(frozen=True)
class ValidationResult:
    """Means over the crops as they are and each shifted copy of them."""

    tar: float
    far: float
    auc: float
    parts: dict[str, SeedResult] = field(default_factory=dict)
    """Of each copy, "as they are" first: what a paired comparison needs. Empty unless it was asked for."""


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
    far: float = float("nan")
    parts: dict[str, dict[str, SeedResult]] = field(default_factory=lambda: {"before": {}, "best": {}})
    """`ValidationResult.parts` of both."""

    def start(self, result: ValidationResult) -> None:
        """The network that is fine-tuned, before the first step."""
        self.before, self.far, self.parts["before"] = (result.tar, result.auc), result.far, result.parts

    def better(self, result: ValidationResult) -> bool:
        """Take in the next validation."""
        now = (result.tar, result.auc)
        better = now > max(self.best, self.before or self.best)
        if now > self.best:
            self.best, self.parts["best"] = now, result.parts
        self.stale = 0 if better else self.stale + 1
        return better

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.stale >= self.patience

    @property
    def differences(self) -> dict[str, Difference]:
        """TAR of the best minus that of before on each copy, over the same people; empty where nobody measured."""
        found = {}
        for name, old in self.parts["before"].items():
            if new := self.parts["best"].get(name):
                moved = new.replicates - old.replicates
                interval = difference_interval(old.errors - new.errors, old.counts, moved)
                found[name] = Difference(self.far, new.tar, old.tar, interval)
        return found

    @property
    def helped(self) -> bool | None:
        """Whether training made a measurably better network than there was, and nowhere a worse one; None where nobody
        measured. Measurable: the paired interval excludes zero.
        """
        if self.before is None:
            return None
        signs = {found.value > 0 for found in self.differences.values() if found.excludes_zero and found.value}
        return signs == {True}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        parts = {
            when: {
                name: [part.errors.tolist(), part.counts.tolist(), part.replicates.tolist()]
                for name, part in all_.items()
            }
            for when, all_ in self.parts.items()
        }
        before = self.before and list(self.before)
        return {"best": list(self.best), "stale": self.stale, "before": before, "far": self.far, "parts": parts}

    def restore(self, state: dict[str, Any]) -> None:
        """`best` was the TAR alone in older checkpoints, and `parts` not there."""
        tar, auc = state["best"] if isinstance(state["best"], list) else (float(state["best"]), -1.0)
        self.best, self.stale = (tar, auc), int(state.get("stale", 0))
        self.far = float(state.get("far", "nan"))
        for when, parts in state.get("parts", {}).items():
            self.parts[when] = {name: SeedResult(*map(np.asarray, part)) for name, part in parts.items()}
        if before := state.get("before"):
            self.before = (before[0], before[1])

    def words(self) -> list[str]:
        """What fine-tuning came to, a line for each copy of the validation crops."""
        if not self.differences:
            before, best = (f"TAR {tar:.4f} (AUC {auc:.4f})" for tar, auc in (self.before or self.best, self.best))
            return [f"no measurable difference: validation {before} before, {best} after"]
        lines = []
        for name, found in self.differences.items():
            assert found.interval is not None and found.value is not None
            low, high = (100 * end for end in found.interval)
            verdict = ("worse", "better")[found.value > 0] if found.excludes_zero else "no measurable difference"
            lines.append(
                f"{name}: {verdict}; TAR {found.b:.2%} before, {found.a:.2%} after, at FAR {self.far:g} "
                f"({100 * found.value:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f})"
            )
        return lines


class Validation:
    """Crops of the validation identities, decoded once."""

    def __init__(
        self, data: FaceDataset, fars: tuple[float, ...] = FARS, shifts: Sequence[str] = (), paired: bool = False
    ) -> None:
        self.data, self.title, self.fars, self.paired = data, data.title, fars, paired
        crops, self._labels = data.crops(), data.labels
        self._copies = {"as they are": crops}
        for name in shifts:
            draws = (np.random.default_rng(row) for row in range(len(crops)))
            self._copies[name.replace("_", " ")] = np.stack([SHIFTS[name](c, d) for c, d in zip(crops, draws)])

    @classmethod
    def prepare(
        cls,
        path: str | None,
        trained: FaceDataset,
        fars: tuple[float, ...] = FARS,
        shifts: Sequence[str] = (),
        paired: bool = False,
    ) -> Validation | None:
        """shifts: names of `SHIFTS` to validate on too; paired: measure what a comparison with another network needs.

        None where there is no validation split. Raises `VultusError` where it shares an identity with training."""
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
        return cls(data, fars, shifts, paired)

    def measure(self, network: torch.nn.Module) -> ValidationResult:
        """TAR at a FAR that the data supports, and AUC; the means over all copies."""
        tars, areas, parts, far = [], [], {}, float("nan")
        for name, crops in self._copies.items():
            embeddings = embed_crops(network, crops)
            if not np.isfinite(embeddings).all():
                raise VultusError("the network gives NaN on validation crops; lower optimizer.lr")
            scores = all_pairs(embeddings, self._labels)
            found = verify(scores, self.fars, images=len(crops), identities=len(self.data.identities))
            point = next((point for point in found.points if point.tar is not None), None)
            areas.append(found.auc)
            tars.append(found.auc if point is None or point.tar is None else point.tar)
            far = float("nan") if point is None else point.far
            if point is not None and self.paired and scores.comparisons is not None:
                errors = errors_at_far(scores, far)
                replicates = IdentityBootstrap(scores.comparisons, RESAMPLES).tar_at_far(scores, far)
                if errors is not None and replicates is not None:
                    parts[name] = SeedResult(errors, scores.comparisons.mated, replicates)
        return ValidationResult(float(np.mean(tars)), far, float(np.mean(areas)), parts)


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
