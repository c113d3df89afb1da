"""What a file's embeddings mean, and who says so: the file's own card, our table, or a side file of the user's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vultus.errors import ContractError
from vultus.zoo.contract import Contract, Preprocessing
from vultus.zoo.table import ZOO, ModelFile

CARD = "vultus"
"""Key of the card in an ONNX file's metadata."""
SIDE = ".contract.json"


@dataclass(frozen=True)
class Statement:
    """How a recogniser's crops are prepared, as somebody answerable states it."""

    preprocessing: Preprocessing
    by: str
    """In words, for a reader of provenance: "the file's own card", "the zoo's entry sface", "side file x"."""
    dim: int | None = None
    licence: str = "not stated"
    entry: ModelFile | None = None
    weights: str | None = None
    """The canonical digest that the statement is bound to, where it says one."""
    ancestry: list[dict[str, Any]] = field(default_factory=list)
    """The licence chain of a file that vultus exported."""


def stated(path: Path, sha256: str, metadata: dict[str, str] | None = None) -> Statement | None:
    """The statement for the file `path`, None where nobody says anything.

    Args:
        metadata: of an ONNX file.

    Raises:
        ContractError: a card or a side file that cannot be read.
    """
    if metadata and CARD in metadata:
        return _from_card(metadata[CARD], str(path))
    for entry in ZOO.values():
        if entry.sha256 == sha256 and entry.kind == "recognizer":
            fields = {"weights": "", **(entry.preprocessing or {})}
            contract = Contract.from_dict(fields, entry.name)
            return Statement(
                contract.preprocessing, f"the zoo's entry {entry.name}", contract.dim, entry.licence, entry
            )
    side = path.with_suffix(SIDE)
    return read_side_file(side) if side.is_file() else None


def read_side_file(side: Path) -> Statement:
    """NAME.contract.json beside a foreign file: the fields of a `Contract`, and a licence if you like."""
    try:
        fields = json.loads(side.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ContractError(f"{side} is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ContractError(f"{side} must hold one JSON object")
    licence = str(fields.pop("licence", "not stated"))
    weights = fields.get("weights")
    contract = Contract.from_dict({**fields, "weights": weights or ""}, str(side))
    return Statement(contract.preprocessing, f"side file {side.name}", contract.dim, licence, weights=weights)


def _from_card(text: str, where: str) -> Statement:
    try:
        fields = json.loads(text)
        contract = Contract.from_dict(fields["contract"], where)
        licence = str(fields["licence"])
        ancestry = list((fields.get("provenance") or {}).get("ancestry") or [])
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{where}: its card cannot be read ({type(error).__name__}: {error})") from None
    how = contract.preprocessing
    return Statement(how, "the file's own card", contract.dim, licence, None, contract.weights, ancestry)
