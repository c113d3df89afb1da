"""What jobs find out: plain values for tables, reports and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.evaluation import Verification
from vultus.evaluation.kfold import KFold

if TYPE_CHECKING:
    from vultus.gallery import Decision
    from vultus.recognizer import Recognizer


@dataclass(frozen=True)
class Evaluation:
    """1:1 verification over all pairs of a dataset view."""

    model: str
    dataset: str
    dataset_digest: str
    max_per_identity: int | None
    verification: Verification
    report: Path | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "dataset_digest": self.dataset_digest,
            "max_per_identity": self.max_per_identity,
            "notes": list(self.notes),
            **self.verification.to_dict(),
        }


@dataclass(frozen=True)
class PairsEvaluation:
    """k-fold accuracy over a list of pairs."""

    model: str
    dataset: str
    kfold: KFold
    missing: int
    """Pairs with an image that is not in the dataset; they count as "different"."""
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Search:
    """One probe of the demo and what the gallery said."""

    probe: int
    """Row of the `people` split."""
    person: str
    enrolled: bool
    decision: Decision

    @property
    def right(self) -> bool:
        named = self.decision.person if self.decision.kind == "match" else None
        return named == (self.person if self.enrolled else None)


@dataclass(frozen=True)
class DemoResult:
    """Everything the table and the report show."""

    folder: Path
    procedural: bool
    evaluation: Evaluation
    others: dict[str, Verification]
    """Whitened PCA, the untrained network, the mean colour; on the same test split."""
    recognizer: Recognizer
    fpir: float | None
    searches: list[Search]
    seconds: dict[str, float]
