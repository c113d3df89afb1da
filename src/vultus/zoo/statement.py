"""What a file's embeddings mean, and who says so: the file's own card, our table, or a side file of the user's."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.errors import ContractError
from vultus.files import parsing
from vultus.formats import read_json
from vultus.zoo.contract import Contract, Preprocessing
from vultus.zoo.licence import licence_link
from vultus.zoo.table import ZOO, ModelFile

CARD = "vultus"
"""Key of the card in an ONNX file's metadata."""
SIDE = ".contract.json"
MOST_CARD = 64 * 2**20
"""Bytes of a contract or a calibration beside a model."""
USES = ("allowed", "forbidden", "unclear")
"""What a licence says of commercial use."""


@dataclass(frozen=True)
class Statement:
    """How a recogniser's crops are prepared, as somebody answerable states it."""

    contract: Contract
    """Its `weights` are empty where the statement is bound to none."""
    by: str
    """In words, for a reader of provenance: "the file's own card", "the zoo's entry sface", "side file x"."""
    licence: str
    ancestry: tuple[dict[str, Any], ...]
    """The licence chain of the file, oldest first, the file itself last (`licence.LicenceLink`)."""
    entry: ModelFile | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        return self.contract.preprocessing

    def bind(self, weights: str, where: str) -> Contract:
        """The contract of the network with this canonical digest; refused where the statement is of another."""
        if self.contract.weights not in ("", weights):
            raise ContractError(
                f"{where}: {self.by} was written for other weights; remove 'weights' from it if it is right, or export "
                "the model again"
            )
        return dataclasses.replace(self.contract, weights=weights)


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
        return _from_card(metadata[CARD], path, sha256)
    known = [
        e for e in ZOO.values() if e.kind == "recognizer" and (e.sha256 == sha256 or (e.canonical or "") == canonical)
    ]
    if entry is None and known:
        entry = known[0]
    if entry is not None:
        contract = Contract.from_dict({"weights": "", **(entry.preprocessing or {})}, entry.name)
        by, chain = f"the zoo's entry {entry.name}", (dict(licence_link(entry, sha256)),)
        return Statement(contract, by, entry.licence, chain, entry)
    side = path.with_suffix(SIDE)
    return read_side_file(side, path.name, sha256) if side.exists() else None


def unprepared(path: Path, dim: int) -> ContractError:
    """The error where nobody says how crops are prepared."""
    return ContractError(
        f"{path} does not say how it wants its crops; write {path.with_suffix(SIDE).name} beside it, for example "
        f'{{"dim": {dim}, "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5], "color": "RGB"}}'
    )


def unstated(path: Path, sha256: str) -> dict[str, Any]:
    """The link of the licence chain of a file of which nobody says anything."""
    return _link(path.name, "not stated", "unclear", sha256)


def _link(name: str, licence: str, commercial: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "licence": licence, "commercial_use": commercial, "source": name, "sha256": sha256}


def read_side_file(side: Path, name: str, sha256: str) -> Statement:
    """NAME.contract.json beside the foreign file `name`: the fields of a `Contract`, and, if you like, "licence" and
    "commercial_use" (allowed, forbidden or unclear).
    """
    fields = read_json(side, "write it anew", "contract in JSON", MOST_CARD, ContractError)
    if not isinstance(fields, dict):
        raise ContractError(f"{side} must hold one JSON object")
    licence, commercial = str(fields.pop("licence", "not stated")), fields.pop("commercial_use", "unclear")
    if not isinstance(commercial, str) or commercial not in USES:
        raise ContractError(f"{side}: commercial_use={commercial!r} must be one of {', '.join(USES)}")
    contract = Contract.from_dict({"weights": "", **fields}, str(side))
    return Statement(contract, f"side file {side.name}", licence, (_link(name, licence, commercial, sha256),))


def _from_card(text: str, path: Path, sha256: str) -> Statement:
    with parsing(path, "recognizer with a card", "export it again", ContractError):
        fields = json.loads(text)
        contract = Contract.from_dict(fields["contract"], str(path))
        licence = str(fields["licence"])
        chain = tuple((fields.get("provenance") or {}).get("ancestry") or ())
        commercial = "forbidden" if any(link.get("commercial_use") == "forbidden" for link in chain) else "unclear"
        own = _link(str(fields.get("name") or path.name), licence, commercial, sha256)
    return Statement(contract, "the file's own card", licence, (*chain, own))
