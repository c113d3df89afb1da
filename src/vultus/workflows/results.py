"""What jobs find out: plain values for tables, reports and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vultus
from vultus.evaluation import Verification
from vultus.evaluation.intervals import Difference
from vultus.evaluation.profiles import Judgement
from vultus.evaluation.protocols.kfold import KFold
from vultus.evaluation.protocols.pair_quality import QualityBin
from vultus.files import save_atomically

if TYPE_CHECKING:
    from vultus.gallery import Decision
    from vultus.recognizer import Recognizer
    from vultus.workflows.evidence import Evidence


def write_figures(folder: Path, figures: dict[str, Any]) -> None:
    """`folder`/figures.json; a number that is none (infinity, NaN) would be no JSON and raises ValueError."""
    text = json.dumps(figures, indent=1, allow_nan=False)
    save_atomically((text + "\n").encode(), folder / "figures.json")


@dataclass(frozen=True)
class Against:
    """An earlier recogniser on the same images, and probes by the new one against its gallery."""

    model: str
    verification: Verification
    """The earlier one with itself."""
    cross: Verification
    """Enrolled with the earlier one, probed with the new one."""
    differences: tuple[Difference, ...] = ()
    """TAR of the new one with itself minus that of the earlier one, on the same people."""
    contract_id: str | None = None
    """Of the earlier one."""

    def verdicts(self) -> list[tuple[float, str]]:
        """For each FAR that the data supports: compatible, or not, or within the intervals (Shen et al. 2020)."""
        found = []
        for old, cross in zip(self.verification.points, self.cross.points, strict=True):
            if old.tar is None or cross.tar is None or old.tar_interval is None or cross.tar_interval is None:
                continue
            if cross.tar >= old.tar:
                found.append((old.far, "compatible"))
            elif cross.tar_interval[1] >= old.tar_interval[0]:
                found.append((old.far, "lower, within the intervals"))
            else:
                found.append((old.far, "not compatible"))
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "model": self.model,
            "contract": self.contract_id,
            "old_old": self.verification.to_dict(),
            "old_new": self.cross.to_dict(),
            "new_minus_old": [{**asdict(found), "value": found.value} for found in self.differences],
            "verdicts": [{"far": far, "verdict": verdict} for far, verdict in self.verdicts()],
        }


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
    against: Against | None = None
    judgement: Judgement | None = None
    evidence: Evidence | None = None
    """Identification, conditions and groups, where a report was asked for."""
    contract_id: str | None = None
    command: str = ""
    baselines: dict[str, Verification] = field(default_factory=dict)
    """What else was measured on the same people, to tell a good figure from an easy set."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "dataset_digest": self.dataset_digest,
            "contract": self.contract_id,
            "command": self.command,
            "vultus": vultus.__version__,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "max_per_identity": self.max_per_identity,
            "notes": list(self.notes),
            **self.verification.to_dict(),
            "baselines": {
                name: {"auc": found.auc, "points": [point.to_dict() for point in found.points]}
                for name, found in self.baselines.items()
            },
            **({"against": self.against.to_dict()} if self.against else {}),
            **({"profile": self.judgement.to_dict()} if self.judgement else {}),
            **(self.evidence.to_dict() if self.evidence else {}),
        }


@dataclass(frozen=True)
class PairsEvaluation:
    """k-fold accuracy over a list of pairs, and the rates of the same scores."""

    model: str
    dataset: str
    kfold: KFold
    missing: int
    """Pairs with a photograph without a face: those of one person fail, those of two are rejected."""
    verification: Verification
    """Mated pairs with a missing image are false non-matches; such non-mated ones count nowhere."""
    quality: tuple[QualityBin, ...] = ()
    """By the quality of the worse image, worst first; the rates are those at `quality_far` of the whole list."""
    quality_far: float | None = None
    notes: tuple[str, ...] = field(default=())
    baselines: dict[str, PairsEvaluation] = field(default_factory=dict)
    """The same of the recognisers beside it."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "missing": self.missing,
            "notes": list(self.notes),
            "kfold": self.kfold.to_dict(),
            "quality": [part.to_dict() for part in self.quality],
            "quality_far": self.quality_far,
            "baselines": {
                name: {
                    "kfold": found.kfold.to_dict(),
                    "points": [point.to_dict() for point in found.verification.points],
                }
                for name, found in self.baselines.items()
            },
            **self.verification.to_dict(),
        }


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
