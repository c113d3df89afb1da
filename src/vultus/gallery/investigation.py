"""Candidates for a person to look at: scores and what they weigh, without a threshold and without a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vultus.evaluation import Calibration
from vultus.gallery.decision import Candidate
from vultus.gallery.rates import UNWEIGHED, Weight, templates_in_words, weigh


@dataclass(frozen=True)
class Investigation:
    """A ranked list for a trained examiner. It has no threshold and decides nothing."""

    candidates: tuple[Candidate, ...]
    """Best first."""
    weights: tuple[Weight | None, ...]
    """One a candidate; None where the recogniser has no calibration."""
    searched: int
    position: int = 0

    def __str__(self) -> str:
        lines = [
            f"{len(self.candidates)} candidates among {templates_in_words(self.searched)}: a ranked list, no decision"
        ]
        for rank, (found, weight) in enumerate(zip(self.candidates, self.weights, strict=True), 1):
            lines.append(f"{rank}. {found.label} (score {found.score:.3f}; {weight or 'no calibration'})")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        ranked = zip(self.candidates, self.weights, strict=True)
        return {
            "kind": "investigation",
            "decision": None,
            "searched": self.searched,
            "position": self.position,
            "candidates": [
                {"rank": rank, **found.to_dict(), **(weight.to_dict() if weight else UNWEIGHED)}
                for rank, (found, weight) in enumerate(ranked, 1)
            ],
        }


def investigation(
    candidates: Sequence[Candidate], calibration: Calibration | None, *, searched: int, position: int = 0
) -> Investigation:
    """Candidates sorted best first, each with its weight as far as a calibration gives one."""
    weights = tuple(weigh(found.score, calibration) if calibration else None for found in candidates)
    return Investigation(tuple(candidates), weights, searched, position)
