"""What a collection is told once: how it decides, whom it takes, how long it keeps. Stored as JSON beside it."""

from __future__ import annotations

import difflib
import unicodedata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vultus.errors import VultusError
from vultus.faces import ENROL_GATE, PROBE_GATE, Gate


class Settings(BaseModel):
    """Each with a safe default. Changing one is written to the audit log."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    purpose: str = Field("", max_length=200)
    """What people are enrolled for; consents must name the same where they are required."""
    require_consent: bool = False
    """Whether a person without a valid consent to `purpose` is refused."""
    retention_days: int | None = Field(None, ge=1, le=36_500)
    """Days after somebody was last enrolled or matched until `sweep` erases them; None keeps them."""
    keep_crops: bool = False
    """Whether aligned crops are kept, sealed, so that a change of model needs no new photographs."""
    max_templates: int = Field(20, ge=1, le=1000)
    """A person's templates; more slow a search down and raise the rate of false matches with this person."""
    fusion: int = Field(1, ge=1, le=1000)
    """A person's score: the mean of this many of their best templates; 1 is the best one's."""
    enrol_gate: dict[str, float | None] | None = None
    """Limits of the quality gate at enrolment that differ from its defaults."""
    probe_gate: dict[str, float | None] | None = None
    """The same for faces that are looked up."""
    gates: bool = True
    """Whether bad photographs are refused at enrolment and answered `low_quality` in a search."""
    outlier_fmr: float | None = Field(0.01, gt=0, lt=1)
    """A template that a stranger's would reach in fewer than this share of comparisons is refused; None takes any."""
    duplicate_fpir: float | None = Field(0.001, gt=0, lt=1)
    """Enrolling somebody who is enrolled already under another name warns at this rate of false alarms; None never."""
    audit_searches: bool = True
    """Whether each decision is written to the audit log; matches always are."""

    @field_validator("purpose")
    @classmethod
    def _one_line(cls, purpose: str) -> str:
        """Spelt as a consent to it is."""
        cleaned = unicodedata.normalize("NFC", purpose).strip()
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in cleaned):
            raise ValueError("a purpose is one line without control characters")
        return cleaned

    @classmethod
    def parse(cls, plain: dict[str, Any]) -> Settings:
        """VultusError, one line, for an unknown name or an impossible value."""
        for name in plain:
            if name not in cls.model_fields:
                near = difflib.get_close_matches(name, cls.model_fields, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(cls.model_fields)}"
                raise VultusError(f"a collection has no setting {repr(name)[:60]}; {hint}")
        try:
            made = cls.model_validate(plain)
        except ValidationError as error:
            first = error.errors()[0]
            raise VultusError(
                f"setting {first['loc'][0]}: {first['msg']} (given {repr(first['input'])[:60]})"
            ) from None
        Gate.from_dict(made.enrol_gate or {}, ENROL_GATE)
        Gate.from_dict(made.probe_gate or {}, PROBE_GATE)
        if made.require_consent and not made.purpose:
            raise VultusError("require_consent needs a purpose that people can agree to; set purpose as well")
        return made

    @property
    def gate_of_enrolment(self) -> Gate | None:
        """What an enrolled photograph must reach; None where none is judged."""
        return Gate.from_dict(self.enrol_gate or {}, ENROL_GATE) if self.gates else None

    @property
    def gate_of_probes(self) -> Gate | None:
        """What a searched face must reach; None where none is judged."""
        return Gate.from_dict(self.probe_gate or {}, PROBE_GATE) if self.gates else None

    @classmethod
    def explained(cls) -> dict[str, str]:
        """What each setting means, by name; values are spelled as JSON, as they are given."""
        words = {name: (field.description or "").split() for name, field in cls.model_fields.items()}
        return {name: " ".join(said).replace("None", "null") for name, said in words.items()}

    def changed(self, changes: dict[str, Any]) -> Settings:
        return self.parse(self.model_dump() | changes)
