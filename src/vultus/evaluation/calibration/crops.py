"""How the crops were made that scores were measured on: another detector's landmarks give other crops, other scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from vultus.errors import CalibrationError


@dataclass(frozen=True)
class CropOrigin:
    """The detector whose landmarks crops were aligned by, and the template that they were aligned to."""

    detector: str
    """Its name in the table of models, or that of its file."""
    digest: str
    """SHA-256 (hex) of the detector's file: the same name may be another file."""
    template: str
    """Name of the alignment, `Contract.template`."""

    def __str__(self) -> str:
        return f"{self.detector} ({self.digest[:12]}, {self.template})"

    def fits(self, other: CropOrigin) -> bool:
        """Whether the crops are made alike, whatever the files are called."""
        return (self.digest, self.template) == (other.digest, other.template)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> CropOrigin:
        """Raises CalibrationError (code calibration_invalid)."""
        names = {field.name for field in fields(cls)}
        if set(plain) != names or not all(isinstance(text, str) and 0 < len(text) <= 200 for text in plain.values()):
            raise CalibrationError(
                f"the origin of crops is told by {', '.join(sorted(names))}, one line each; calibrate again",
                "calibration_invalid",
            )
        return cls(**plain)
