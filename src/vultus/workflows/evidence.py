"""Everything that the data can say about a recogniser beside its 1:1 rates; what it cannot say, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from vultus.data import FaceDataset
from vultus.data.failures import lost_comparisons, photographs_without_face
from vultus.errors import VultusError
from vultus.evaluation import Calibration, OperatingPoint, Verification
from vultus.evaluation.breakdown import Breakdown, Discard, GroupRates, by_condition, decide, edc, rates_of, tidy
from vultus.evaluation.calibration.achieved import Achieved, achieved
from vultus.evaluation.protocols.fpir_growth import Growth, fpir_growth
from vultus.evaluation.protocols.galleries import Draw, gallery_sizes
from vultus.evaluation.protocols.identification import FPIRS
from vultus.evaluation.protocols.open_set import OpenSet, open_set
from vultus.evaluation.scores import PairScores
from vultus.workflows.conditions import conditions, group_column

T = TypeVar("T")

FAR = 1e-3
"""Groups and conditions are compared at the threshold of this FAR, or of the lowest above it that the data supports."""

DISCARDED = ("yaw", "eye_distance", "sharpness", "detection_score")
"""Conditions that are tried as a quality score, to drop pictures by."""


@dataclass(frozen=True)
class Evidence:
    """Parts of a report; an empty part has its reason in `withheld`."""

    identification: OpenSet | None = None
    """Open-set searches at growing galleries."""
    growth: Growth | None = None
    achieved: Achieved | None = None
    """What the recogniser's own calibration promised, beside what these people show."""
    fixed_far: float | None = None
    """The FAR whose threshold groups, conditions and discards are judged at."""
    discards: tuple[Discard, ...] = ()
    conditions: tuple[Breakdown, ...] = ()
    groups: GroupRates | None = None
    withheld: dict[str, str] = field(default_factory=dict)
    """Part -> why it is not here."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "identification": self.identification.to_dict() if self.identification else None,
            "growth": self.growth.to_dict() if self.growth else None,
            "achieved": self.achieved.to_dict() if self.achieved else None,
            "fixed_far": self.fixed_far,
            "discards": [part.to_dict() for part in self.discards],
            "conditions": [part.to_dict() for part in self.conditions],
            "groups": self.groups.to_dict() if self.groups else None,
            "withheld": self.withheld,
        }


@dataclass(frozen=True)
class Groups:
    """Whose group is which, ready for `rates_of`."""

    codes: np.ndarray
    names: tuple[str, ...]
    column: str
    filled: int


def read_groups(data: FaceDataset, name: str) -> Groups:
    """A column of the dataset or a CSV (`group_column`). Raises VultusError for a mistake in it."""
    column = group_column(data, name)
    codes, names, filled = tidy(data.labels, column.values, column.name, column.by_image)
    return Groups(codes, names, column.name, filled)


def gather(
    scores: PairScores,
    verification: Verification,
    embeddings: np.ndarray,
    data: FaceDataset,
    calibration: Calibration | None = None,
    *,
    groups: Groups | None = None,
    searches: Sequence[tuple[int, float]] = (),
) -> Evidence:
    """All parts that `data` supports; what fails for want of data is withheld with its reason, nothing else is caught.

    embeddings (N, D) float32 unit rows in the order of `data`; scores and verification: of all its pairs; searches:
    (people enrolled, FPIR) that a profile asks for, measured where there are as many people.
    """
    withheld: dict[str, str] = {}

    def part(name: str, make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except VultusError as error:
            withheld[name] = str(error)
            return otherwise

    labels = data.labels
    missing = np.repeat(np.arange(len(data.identities)), photographs_without_face(data))
    sizes = sorted({*gallery_sizes(data.counts, Draw()), *(n for n, _ in searches if n < len(data.identities))})
    fpirs = sorted({*FPIRS, *(fpir for _, fpir in searches)}, reverse=True)
    found: dict[str, Any] = {
        "identification": part(
            "identification", lambda: open_set(embeddings, labels, sizes, fpirs=fpirs, missing=missing), None
        ),
        "growth": part("growth", lambda: fpir_growth(embeddings, labels), None),
    }
    if calibration is None:
        withheld["thresholds kept"] = "the recogniser has no calibration that could be checked here"
    else:
        found["achieved"] = achieved(calibration, scores, identities=len(data.identities), images=len(data))
    at = fixed_point(verification)
    if at is None or at.threshold is None:
        withheld["conditions and groups"] = "too few comparisons of different people for a threshold"
        return Evidence(**found, withheld=withheld)
    outcomes = decide(embeddings, labels, at.threshold, failures=lost_comparisons(data))
    found["fixed_far"] = at.far
    every = conditions(data)
    split = [part(each.title, lambda each=each: by_condition(outcomes, each), None) for each in every]
    found["conditions"] = tuple(one for one in split if one is not None)
    found["discards"] = tuple(edc(outcomes, c.quality, name=c.title) for c in every if c.name in DISCARDED)
    if groups is not None:
        found["groups"] = rates_of(outcomes, groups.codes, groups.names, groups.column, groups.filled)
    return Evidence(**found, withheld=withheld)


def fixed_point(verification: Verification) -> OperatingPoint | None:
    """The operating point at `FAR`, or the lowest above it that the data supports."""
    known = [point for point in verification.points if point.threshold is not None and point.far >= FAR]
    return min(known, key=lambda point: point.far, default=None)
