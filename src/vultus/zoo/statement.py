"""What a file's embeddings mean, and who says so: the file's own card, our table, or a side file of the user's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.errors import ContractError
from vultus.zoo.contract import Contract, Preprocessing
from vultus.zoo.licence import licence_link
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
    dim: int | None
    licence: str
    weights: str | None = None
    """The canonical digest that the statement is bound to, where it names one."""
    entry: ModelFile | None = None
    ancestry: tuple[dict[str, Any], ...] = ()
    """The licence chain of the file, oldest first (`licence.LicenceLink`)."""


def stated(
    path: Path,
    sha256: str,
    *,
    metadata: dict[str, str] | None = None,
    canonical: str | None = None,
    entry: ModelFile | None = None,
) -> Statement | None:
    """The statement for the file `path`, None where nobody says anything.

    Args:
        metadata: of an ONNX file; canonical: the digest of its sanitised network.
        entry: the entry of the table by whose name the file was found, if it was.

    Raises:
        ContractError: a card or a side file that cannot be read.
    """
    if metadata and CARD in metadata:
        return _from_card(metadata[CARD], str(path))
    known = [
        e for e in ZOO.values() if e.kind == "recognizer" and (e.sha256 == sha256 or (e.canonical or "") == canonical)
    ]
    if entry is None and known:
        entry = known[0]
    if entry is not None:
        contract = Contract.from_dict({"weights": "", **(entry.preprocessing or {})}, entry.name)
        by, chain = f"the zoo's entry {entry.name}", (dict(licence_link(entry, sha256)),)
        return Statement(contract.preprocessing, by, contract.dim, entry.licence, None, entry, chain)
    side = path.with_suffix(SIDE)
    return read_side_file(side, path.name, sha256) if side.is_file() else None


def unstated(path: Path, sha256: str) -> dict[str, Any]:
    """The link of the licence chain of a file of which nobody says anything."""
    return _link(path.name, "not stated", "unclear", sha256)


def _link(name: str, licence: str, commercial: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "licence": licence, "commercial_use": commercial, "source": name, "sha256": sha256}


def read_side_file(side: Path, name: str, sha256: str) -> Statement:
    """NAME.contract.json beside the foreign file `name`: the fields of a `Contract`, and, if you like, "licence" and
    "commercial_use" (allowed, forbidden or unclear).
    """
    try:
        fields = json.loads(side.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ContractError(f"{side} is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ContractError(f"{side} must hold one JSON object")
    licence, commercial = str(fields.pop("licence", "not stated")), str(fields.pop("commercial_use", "unclear"))
    weights = fields.get("weights")
    contract = Contract.from_dict({**fields, "weights": weights or ""}, str(side))
    chain = (_link(name, licence, commercial, sha256),)
    by = f"side file {side.name}"
    return Statement(contract.preprocessing, by, contract.dim, licence, weights, None, chain)


def _from_card(text: str, where: str) -> Statement:
    try:
        fields = json.loads(text)
        contract = Contract.from_dict(fields["contract"], where)
        licence = str(fields["licence"])
        ancestry = tuple((fields.get("provenance") or {}).get("ancestry") or ())
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{where}: its card cannot be read ({type(error).__name__}: {error})") from None
    how = contract.preprocessing
    return Statement(how, "the file's own card", contract.dim, licence, contract.weights, None, ancestry)
