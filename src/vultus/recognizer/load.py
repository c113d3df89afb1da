"""Load a recogniser: our own file, a known published one, or any ONNX with a contract beside it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import onnx

from vultus.errors import ContractError, VultusError
from vultus.evaluation import Calibration
from vultus.recognizer.card import Card, read_card
from vultus.recognizer.runtime import Recognizer
from vultus.zoo import Contract, announce, canonical_digest, find_file, licence_link, model_file, sanitise
from vultus.zoo.locate import sha256_of
from vultus.zoo.table import ZOO, ModelFile


def load_recognizer(
    model: str | Path, models_dir: str | Path | None = None, *, threads: int | None = None
) -> Recognizer:
    """Load by a name of `vultus models list` or by the path of an .onnx file.

    A file is accepted with a card inside (`vultus export`), with the digest of a known published file, or with a side
    file `NAME.contract.json` holding at least {"dim": 512, "mean": [..], "std": [..], "color": "RGB"}.

    Raises:
        VultusError: unknown name, missing or broken file.
        ContractError: nothing says how the file wants its crops.
    """
    folder = str(models_dir) if models_dir else None
    path = Path(model)
    if path.suffix.lower() != ".onnx":
        if path.is_dir() and (path / "recipe.yaml").is_file():
            raise VultusError(
                f"{model} is a training run; make a recogniser of it with `vultus export {model} --out FILE.onnx`"
            )
        entry = model_file(str(model), "recognizer")
        if not entry.runnable:
            raise VultusError(
                f"{entry.name} is a file of weights ({entry.architecture}), not a network that runs; get it with "
                f"`vultus models fetch {entry.name}` and make a recogniser of it"
            )
        return _published(entry, find_file(entry, models_dir), folder, threads)
    if not path.is_file():
        raise VultusError(f"model file {path} does not exist")
    try:
        network = onnx.load(str(path))
    except Exception:
        raise VultusError(f"{path} is broken or no ONNX file") from None
    if (card := read_card(network, str(path))) is not None:
        return Recognizer(network, card, models_dir=folder, threads=threads)
    digest = sha256_of(path)
    for entry in ZOO.values():
        if entry.sha256 == digest and entry.kind == "recognizer":
            return _published(entry, path, folder, threads)
    return _with_side_file(path, network, folder, threads)


def _published(entry: ModelFile, path: Path, models_dir: str | None, threads: int | None) -> Recognizer:
    network = sanitise(onnx.load(str(path)))
    contract = Contract(weights=canonical_digest(network), **(entry.preprocessing or {}))
    announce(entry)
    provenance = {"source": entry.url, "sha256": entry.sha256, "about": entry.about, "ancestry": [licence_link(entry)]}
    card = Card(entry.name, contract, entry.licence, provenance, shipped_calibration(contract))
    return Recognizer(network, card, models_dir=models_dir, threads=threads)


def _with_side_file(path: Path, foreign: onnx.ModelProto, models_dir: str | None, threads: int | None) -> Recognizer:
    side = path.with_suffix(".contract.json")
    if not side.is_file():
        raise ContractError(
            f"{path} does not say how it wants its crops; write {side.name} beside it, for example "
            '{"dim": 512, "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5], "color": "RGB"}'
        )
    try:
        fields = json.loads(side.read_text())
    except ValueError as error:
        raise ContractError(f"{side} is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ContractError(f"{side} must hold one JSON object")
    licence = str(fields.pop("licence", "not stated"))
    network = sanitise(foreign)
    weights = canonical_digest(network)
    if fields.setdefault("weights", weights) != weights:
        raise ContractError(
            f"{side} was written for other weights than those of {path.name}; remove 'weights' from it if it is right"
        )
    contract = Contract.from_dict(fields, str(side))
    provenance = {"source": path.name, "contract": side.name}
    card = Card(path.stem, contract, licence, provenance).with_calibration(
        _beside(path) or shipped_calibration(contract)
    )
    return Recognizer(network, card, models_dir=models_dir, threads=threads)


def _beside(path: Path) -> Calibration | None:
    """NAME.calibration.json beside a foreign file, as `vultus evaluate NAME.onnx --calibration` writes it."""
    side = path.with_suffix(".calibration.json")
    return Calibration.from_json(side.read_text(encoding="utf-8")) if side.is_file() else None


def shipped_calibration(contract: Contract) -> Calibration | None:
    """The calibration measured by us that ships with vultus for this contract, if there is one."""
    for file in resources.files("vultus.recognizer").joinpath("calibrations").iterdir():
        if file.name.endswith(".json"):
            text = file.read_text(encoding="utf-8")
            if f'"{contract.id}"' in text:
                return Calibration.from_json(text)
    return None
