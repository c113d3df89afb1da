"""The card inside a model file: contract, licence, provenance, calibration; one JSON value of the ONNX metadata."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from vultus.errors import ContractError
from vultus.evaluation import Calibration
from vultus.files import parsing, save_atomically
from vultus.zoo import Contract, canonical_digest

KEY = "vultus"
TEXT_KEY = "model_card"
"""Metadata key of the model card in words."""
FORMAT = "vultus-recognizer-1"


@dataclass(frozen=True)
class Card:
    """What a recogniser says about itself. Only `contract` decides which embeddings may be compared."""

    name: str
    contract: Contract
    licence: str
    provenance: dict[str, Any] = field(default_factory=dict)
    """How the weights came to be: recipe, dataset digest, code version, or the address of a published file."""
    calibration: Calibration | None = None

    def to_json(self) -> str:
        fields: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "contract": self.contract.to_dict(),
            "contract_id": self.contract.id,
            "licence": self.licence,
            "provenance": self.provenance,
            "calibration": json.loads(self.calibration.to_json()) if self.calibration else None,
        }
        return json.dumps(fields, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> Card:
        with parsing(where, "model file with a readable card", "export the model again", ContractError):
            fields = json.loads(text)
            found = fields["format"]
            if found != FORMAT:
                raise ContractError(f"{where} has a card of format {found!r}; this version reads {FORMAT!r}")
            contract = Contract.from_dict(fields["contract"], where)
            if not all(isinstance(fields[name], str) for name in ("name", "licence")):
                raise TypeError("name or licence is no text")
            provenance = fields.get("provenance") or {}
            if not isinstance(provenance, dict):
                raise TypeError("provenance is no object")
            calibration = fields.get("calibration")
            card = cls(fields["name"], contract, fields["licence"], provenance)
            if fields.get("contract_id") != contract.id:
                raise ContractError(f"{where}: the card's contract was edited by hand; export the model again")
            return card.with_calibration(None if calibration is None else Calibration.from_dict(calibration))

    def with_calibration(self, calibration: Calibration | None) -> Card:
        """The same recogniser with another calibration; refused if it was measured on another contract."""
        if calibration is not None and calibration.contract_id != self.contract.id:
            raise ContractError(
                f"the calibration belongs to contract {calibration.contract_id}, the model {self.name} has "
                f"{self.contract.id}; calibrate this model",
                code="calibration_contract",
            )
        return dataclasses.replace(self, calibration=calibration)


def read_card(model: onnx.ModelProto, where: str) -> Card | None:
    """The card in a model's metadata, None where there is none.

    Raises `ContractError` where the card is broken or speaks of other weights than those in the file.
    """
    for entry in model.metadata_props:
        if entry.key == KEY:
            card = Card.from_json(entry.value, where)
            if card.contract.weights != canonical_digest(model):
                raise ContractError(
                    f"{where}: its weights are not those that its card describes; export the model again"
                )
            return card
    return None


def write_card(model: onnx.ModelProto, card: Card, path: str | Path) -> None:
    """Save `model` with `card`, and with the model card in Markdown, in its metadata, atomically."""
    from vultus.recognizer.model_card import model_card

    kept = [(e.key, e.value) for e in model.metadata_props if e.key not in (KEY, TEXT_KEY)]
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict([*kept, (KEY, card.to_json()), (TEXT_KEY, model_card(card))]))
    save_atomically(model.SerializeToString(), Path(path))
