"""Load a recogniser: our own file, a known published one, weights of a known layout, or any ONNX with a contract."""

from __future__ import annotations

import importlib.util
from importlib import resources
from pathlib import Path
from typing import Any

import onnx

from vultus.errors import CalibrationError, VultusError
from vultus.evaluation import Calibration
from vultus.evaluation.calibration import CropOrigin
from vultus.faces import identify_detector
from vultus.files import read_file
from vultus.recognizer.backends import BackendName, OpenVinoBackend
from vultus.recognizer.card import Card, read_card
from vultus.recognizer.openvino_ir import read_ir
from vultus.recognizer.runtime import DETECTOR, Recognizer
from vultus.zoo import Contract, ModelFile, announce, announce_chain, canonical_digest, locate_model, sanitise
from vultus.zoo.locate import sha256_of
from vultus.zoo.statement import Statement, stated, unprepared

IR = ".xml"
"""OpenVINO's graph; its weights lie beside it in a .bin file."""
MOST = 64 * 2**20
"""Bytes of a calibration; the names of a million people take 8 million."""


def load_recognizer(
    model: str | Path,
    models_dir: str | Path | None = None,
    *,
    threads: int | None = None,
    backend: BackendName = "auto",
    precision: str | None = None,
    flip: bool | None = None,
    detector: str | None = None,
) -> Recognizer:
    """Load by a name of `vultus models list` or by the path of a file.

    An .onnx file is accepted with a card inside (`vultus export`), with the digest of a known published file, or with a
    side file `NAME.contract.json` holding at least {"dim": 512, "mean": [..], "std": [..], "color": "RGB"}. Files of
    weights (.pt, .pth, .ckpt, .safetensors) of a known layout become a network, which needs torch. Where nobody
    says how crops are prepared, a known layout is taken as its published files are, and that is said on stderr.
    An .xml file is OpenVINO's, written by `vultus export`.

    Args:
        threads, backend, precision, flip, detector: see `Recognizer`.

    Raises:
        VultusError: unknown name, missing or broken file.
        ContractError: nothing says how the file wants its crops.
    """
    folder = str(models_dir) if models_dir else None
    options = {"models_dir": folder, "precision": precision, "flip": flip, "detector": detector}
    if Path(model).suffix.lower() == IR:
        return _from_ir(Path(model), threads, backend, precision, options)
    network, card = open_model(model, models_dir, detector)
    return Recognizer(network, card, threads=threads, backend=backend, **options)


def open_model(
    model: str | Path, models_dir: str | Path | None = None, detector: str | None = None
) -> tuple[onnx.ModelProto, Card]:
    """The network as ONNX and its card, of whatever `load_recognizer` takes, except OpenVINO's files.

    `detector`: the one whose crops it is meant for. A shipped calibration on such crops takes the place of one on
    others; where there is none, the card keeps its own.
    """
    path, entry = locate_model(model, models_dir)
    network, card = _from_onnx(path, entry) if path.suffix.lower() == ".onnx" else _from_checkpoint(path, entry)
    if detector is None:
        return network, card
    origin = CropOrigin(*identify_detector(detector), card.contract.template)
    if card.calibration is not None and card.calibration.crops is not None and card.calibration.crops.fits(origin):
        return network, card
    shipped = shipped_calibration(card.contract, origin)
    return network, card.with_calibration(shipped) if shipped else card


def _from_ir(
    path: Path, threads: int | None, backend: BackendName, precision: str | None, options: dict[str, Any]
) -> Recognizer:
    if not path.is_file():
        raise VultusError(f"model file {path} does not exist")
    if backend not in ("auto", "openvino"):
        raise VultusError(f"{path} is a file of OpenVINO; the backend {backend} cannot run it")
    card = read_ir(path)
    bfloat16 = (precision or card.contract.precision) in ("bf16", "bfloat16")
    loaded = OpenVinoBackend(path, threads=threads, bfloat16=bfloat16)
    return Recognizer(None, card, backend=loaded, **options)


def _from_onnx(path: Path, entry: ModelFile | None) -> tuple[onnx.ModelProto, Card]:
    try:
        network = onnx.load(str(path))
    except Exception:
        raise VultusError(f"{path} is broken or no ONNX file") from None
    if (card := read_card(network, str(path))) is not None:
        announce_chain(card.provenance.get("ancestry") or ())
        return network, card
    network = sanitise(network)
    weights = canonical_digest(network)
    statement = stated(path, sha256_of(path), canonical=weights, entry=entry) or _assumed(path)
    contract = statement.bind(weights, str(path))
    if statement.entry is not None:
        announce(statement.entry)
    announce_chain(statement.ancestry)
    return network, _card(path, contract, statement)


def _from_checkpoint(path: Path, entry: ModelFile | None) -> tuple[onnx.ModelProto, Card]:
    from vultus.models.weights import announce_loaded, load_weights
    from vultus.recognizer.export import as_onnx

    loaded = load_weights(path, entry=entry)
    announce_loaded(loaded)
    model, contract = as_onnx(loaded.network)
    return model, _card(path, contract, loaded.as_statement)


def _assumed(path: Path) -> Statement:
    """What the published files of the recognised layout want, said on stderr; refused where none is recognised."""
    if importlib.util.find_spec("torch") is None:
        raise unprepared(path, 512)
    from vultus.models.onnx_graph import UnknownOperator
    from vultus.models.weights import announce_loaded, load_weights

    try:
        loaded = load_weights(path)
    except UnknownOperator:  # it runs all the same
        raise unprepared(path, 512) from None
    announce_loaded(loaded)
    return loaded.as_statement


def _card(path: Path, contract: Contract, statement: Statement) -> Card:
    entry = statement.entry
    provenance = {
        "source": entry.url if entry else path.name,
        "contract": statement.by,
        "ancestry": list(statement.ancestry),
    }
    if entry is not None:
        provenance |= {"sha256": entry.sha256, "about": entry.about}
    card = Card(entry.name if entry else path.stem, contract, statement.licence, provenance)
    return card.with_calibration((None if entry else _beside(path)) or shipped_calibration(contract))


def _beside(path: Path) -> Calibration | None:
    """NAME.calibration.json beside a foreign file, as `vultus evaluate NAME.onnx --calibration` writes it."""
    side = path.with_suffix(".calibration.json")
    if not side.exists():
        return None
    return Calibration.from_json(read_file(side, MOST, "the calibration", CalibrationError))


def shipped_calibration(contract: Contract, origin: CropOrigin | None = None) -> Calibration | None:
    """The calibration measured by us that ships with vultus for this contract and crops like these, if there is one.

    `origin`: by default that of the detector that is used by default.
    """
    wanted = origin or CropOrigin(*identify_detector(DETECTOR), contract.template)
    for file in resources.files("vultus.recognizer").joinpath("calibrations").iterdir():
        if file.name.endswith(".json"):
            text = file.read_text(encoding="utf-8")
            if f'"{contract.id}"' in text and f'"{wanted.digest}"' in text:
                return Calibration.from_json(text)
    return None
