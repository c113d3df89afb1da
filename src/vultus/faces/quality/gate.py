"""Which photographs are good enough, and in words for people why one is not."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from vultus.errors import VultusError
from vultus.faces.quality.quality import Quality


class ReasonCode(StrEnum):
    """Why a photograph is refused; components of ISO/IEC 29794-5 where it has them. Stable: programs may rely on it."""

    SHARPNESS = "sharpness"
    ILLUMINATION_UNIFORMITY = "illumination_uniformity"
    UNDER_EXPOSURE = "under_exposure"
    OVER_EXPOSURE = "over_exposure"
    DYNAMIC_RANGE = "dynamic_range"
    POSE_YAW = "pose_yaw"
    POSE_PITCH = "pose_pitch"
    POSE_ROLL = "pose_roll"
    INTER_EYE_DISTANCE = "inter_eye_distance"
    OTHER_FACE = "other_face"
    """The standard's "single face present"."""
    DETECTION_SCORE = "detection_score"
    """The detector's confidence; the standard has no such component."""


@dataclass(frozen=True)
class Reason:
    """One limit that a photograph misses."""

    code: ReasonCode
    value: float
    """What was measured; of a pose without its sign."""
    limit: float

    def __str__(self) -> str:
        """One line: what is wrong, what was measured, the limit, the mend."""
        rule = _RULES[self.code]
        bound = "at most" if rule.most else "at least"
        value, limit = _apart(self.value, self.limit)
        return f"{rule.wrong}: {rule.what} {value}{rule.unit}, {bound} {limit}{rule.unit}; {rule.mend}"

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code.value, "value": self.value, "limit": self.limit, "text": str(self)}


@dataclass(frozen=True)
class Gate:
    """Limits of a photograph's quality; None: not judged. Without arguments, those of an enrolment.

    The defaults stand where `benchmarks/quality_gate.py` finds that degraded photographs are recognised less well, and
    together refuse at most 2 % of LFW's press photographs. That of yaw is a convention: LFW has few profiles, and
    SFace recognised them. The share of dark pixels is not judged: of LFW's pictures with the largest, most show black
    people in good light, whereas a picture too dark to recognise lacks contrast as well.
    """

    sharpness: float | None = 0.45
    illumination_uniformity: float | None = 0.15
    under_exposure: float | None = None
    over_exposure: float | None = 0.15
    dynamic_range: float | None = 2.5
    pose_yaw: float | None = 45.0
    pose_pitch: float | None = 25.0
    pose_roll: float | None = 12.0
    inter_eye_distance: float | None = 16.0
    other_face: float | None = None
    detection_score: float | None = 0.65

    def __post_init__(self) -> None:
        for field in fields(self):
            limit, most = getattr(self, field.name), _LARGEST.get(field.name, 1.0)
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= most:
                raise VultusError(
                    f"quality limit {field.name} is {str(limit)[:40]!r}; give a number from 0 to {most:g}, or null to "
                    "leave it unjudged"
                )
            object.__setattr__(self, field.name, float(limit))

    def reasons(self, quality: Quality) -> tuple[Reason, ...]:
        """Every limit that the photograph misses; empty where it may pass."""
        found = []
        for code, rule in _RULES.items():
            limit, value = getattr(self, code.value), abs(getattr(quality, code.value))
            if limit is not None and (value > limit if rule.most else value < limit):
                found.append(Reason(code, value, limit))
        return tuple(found)

    def to_dict(self) -> dict[str, float | None]:
        """JSON: number or null a limit."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], base: Gate | None = None) -> Gate:
        """The limits of `plain`, all others those of `base` (default: of an enrolment).

        Raises VultusError for an unknown key, naming the nearest, and for what is no limit.
        """
        names = [field.name for field in fields(cls)]
        for key in plain:
            if key not in names:
                near = difflib.get_close_matches(str(key).lower(), names, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
                raise VultusError(f"unknown quality limit {str(key)[:60]!r}; {hint}")
        return cls(**{**(base or cls()).to_dict(), **plain})


class _Rule(NamedTuple):
    most: bool
    """Whether the limit is the most that passes, not the least."""
    wrong: str
    what: str
    unit: str
    mend: str


_RULES: dict[ReasonCode, _Rule] = {
    ReasonCode.SHARPNESS: _Rule(
        False, "too blurred", "sharpness", "", "hold the camera still, focus on the face, or come nearer"
    ),
    ReasonCode.ILLUMINATION_UNIFORMITY: _Rule(
        False, "lit from one side", "darker half of the face / lighter half", "", "turn the face to the light"
    ),
    ReasonCode.UNDER_EXPOSURE: _Rule(True, "too dark", "share of dark pixels", "", "add light or expose longer"),
    ReasonCode.OVER_EXPOSURE: _Rule(
        True, "overexposed", "share of blown-out pixels", "", "expose shorter, or leave the glaring light"
    ),
    ReasonCode.DYNAMIC_RANGE: _Rule(
        False, "too little contrast", "dynamic range", " bits", "light the face and set the exposure for it"
    ),
    ReasonCode.POSE_YAW: _Rule(True, "head turned to the side", "yaw", " degrees", "look into the camera"),
    ReasonCode.POSE_PITCH: _Rule(True, "head turned up or down", "pitch", " degrees", "look into the camera"),
    ReasonCode.POSE_ROLL: _Rule(
        True, "head tilted", "roll", " degrees", "hold the head or the camera upright, or rotate the photograph"
    ),
    ReasonCode.INTER_EYE_DISTANCE: _Rule(
        False, "face too small", "distance of the eyes", " pixels", "come nearer or use a larger photograph"
    ),
    ReasonCode.OTHER_FACE: _Rule(
        True, "another face of like size", "its size / the size of this one", "", "photograph one person alone"
    ),
    ReasonCode.DETECTION_SCORE: _Rule(
        False, "hardly a face", "confidence of the detector", "", "show the whole face, uncovered"
    ),
}

_LARGEST = {
    "dynamic_range": 8.0,
    "pose_yaw": 90.0,
    "pose_pitch": 180.0,
    "pose_roll": 180.0,
    "inter_eye_distance": 10_000.0,
    "other_face": 100.0,
}
"""Largest limits that mean anything; 1 for all others."""


def _apart(value: float, limit: float) -> tuple[str, str]:
    """Both numbers, with as few digits as still tell them apart."""
    shown = f"{limit:g}"
    for digits in range(2, 17):
        text = f"{value:.{digits}g}" if value < 100 or not math.isfinite(value) else f"{value:.0f}"
        if float(text) != limit or value == limit or value >= 100:
            return text, shown
    return repr(value), shown


ENROL_GATE = Gate()
"""What a template must reach: it is searched for years, and a bad one draws strangers."""

PROBE_GATE = Gate(
    sharpness=0.4,
    illumination_uniformity=0.1,
    under_exposure=None,
    over_exposure=0.3,
    dynamic_range=1.5,
    pose_yaw=65.0,
    pose_pitch=40.0,
    pose_roll=20.0,
    inter_eye_distance=10.0,
    other_face=None,
    detection_score=None,
)
"""What a searched face must reach: below it a search would guess."""

OPEN_GATE = Gate(**dict.fromkeys(PROBE_GATE.to_dict()))
"""Lets all through."""
