"""A model file that describes itself, of a run or a recogniser: converted, measured, with its thresholds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from vultus.data import FaceDataset, Seen
from vultus.data.failures import lost_comparisons
from vultus.errors import CalibrationError, VultusError
from vultus.evaluation import Calibration, calibrate
from vultus.evaluation.calibration import People
from vultus.files import refuse_same, save_atomically
from vultus.recognizer import Card, Recognizer, model_card, open_model, write_card
from vultus.recognizer.backends import computes_bfloat16
from vultus.recognizer.convert import CROPS, PRECISIONS, to_float16, to_int8, tool
from vultus.recognizer.pixels import to_pixels
from vultus.workflows.conversion import MAX_LOSS, check
from vultus.workflows.embedder import Embedder
from vultus.workflows.evaluate import describe
from vultus.zoo import Contract, canonical_digest

if TYPE_CHECKING:
    import torch

UNSTATED = "not stated: decided by whoever trained it and by the terms of the training photographs"
FORMATS = {".onnx": "ONNX", ".xml": "OpenVINO", ".pte": "ExecuTorch"}


@dataclass
class _Source:
    """What is exported: the network in float32 as ONNX, its card, and, for a run, the torch network."""

    model: onnx.ModelProto
    card: Card
    network: torch.nn.Module | None = None

    @property
    def seen(self) -> Seen | None:
        return Seen.from_dict(self.card.provenance.get("seen"))


def export(
    model: str | Path,
    out: str | Path,
    *,
    calibrate_data: str | Path | None = None,
    name: str | None = None,
    licence: str | None = None,
    precision: str | None = None,
    calibration_crops: str | Path | None = None,
    check_data: str | Path | None = None,
    max_loss: float | None = None,
    flip: bool = False,
    compatible: str | None = None,
    detector: str | None = None,
    models_dir: str | None = None,
) -> Card:
    """Write `model` (a run directory, a name, or a file of `load_recognizer`) at `out`, and its model card beside it.

    The end of `out` chooses the format: .onnx, .xml (OpenVINO, with a .bin), .pte (ExecuTorch, with the card as .json).

    Args:
        calibrate_data: a split kept apart, for thresholds by error rate.
        precision: fp32, fp16, bf16 or int8; what `model` is by default. All but fp32 need `check_data`, int8 also
            `calibration_crops`.
        calibration_crops: a view of the kind that was trained on, for the value ranges of int8; never a test split.
        check_data: a view to measure on; its figures go into the card, and a conversion that costs more than
            `max_loss` points (`conversion.MAX_LOSS`) of TAR at FAR 1e-3 is refused.
        flip: embeddings are those of the crop and its mirror image, added.
        compatible: "insightface" or "opencv", for a file that this package prepares crops for as it must; with OpenCV's
            FaceRecognizerSF the file is run once.
        detector: what will find faces: of the shipped calibrations of a published model, the one on its crops is kept.

    Raises:
        VultusError: what cannot be opened, options that do not go together, views that share people, a conversion
            that costs too much. Nothing is written then.
    """
    out = Path(out)
    for written in (out, *map(out.with_suffix, (".md", ".bin", ".json"))):
        refuse_same(written, model)
    _check_options(out, precision, calibration_crops, check_data, max_loss, compatible)
    crops = FaceDataset.open(calibration_crops) if calibration_crops is not None else None
    checked = FaceDataset.open(check_data) if check_data is not None else None
    thresholds = FaceDataset.open(calibrate_data) if calibrate_data is not None else None
    if detector is not None and (thresholds is not None or Path(model).is_dir()):
        raise VultusError("--detector chooses among shipped calibrations; --calibrate DATA knows whose crops it holds")
    source = _open(model, out, name, licence, models_dir, detector)
    if thresholds is not None:
        _refuse_seen(thresholds, source.seen)
    if crops is not None:
        _refuse_shared(crops, {"--check": checked, "--calibrate": thresholds})
    if flip:
        source.card = _changed(source.card, flip=True)
    if compatible is not None:
        from vultus.recognizer.compatible import compatible as made_compatible

        changed, contract = made_compatible(source.model, source.card.contract, compatible)
        source.model, source.card = changed, _changed(source.card, **vars(contract))
    converted, card = _convert(source, PRECISIONS.get(precision or "", source.card.contract.precision), crops)
    recognizer = Recognizer(converted, card, models_dir=models_dir)
    if compatible == "opencv":
        from vultus.models.parity import parity_crops
        from vultus.recognizer.compatible import check_opencv

        drawn = parity_crops()
        check_opencv(converted, drawn, recognizer.embed(drawn), out.parent)
    if card.contract.precision == "bfloat16" and not computes_bfloat16():
        raise VultusError("--precision bf16: this processor has no bfloat16, so nothing could be measured; use another")
    if out.suffix.lower() == ".pte" and card.contract.precision != "float32":
        raise VultusError(f"{card.name} is {card.contract.precision}; ExecuTorch files are made of float32 recognisers")
    if checked is not None:
        before = Recognizer(source.model, source.card, models_dir=models_dir) if card is not source.card else None
        card = _measured(card, recognizer, before, checked, source.seen, MAX_LOSS if max_loss is None else max_loss)
    if thresholds is not None:
        card = card.with_calibration(calibrate_on(recognizer, thresholds))
    _write(converted, card, out, source, model, models_dir)
    save_atomically(model_card(card).encode(), out.with_suffix(".md"))
    return card


def _check_options(
    out: Path,
    precision: str | None,
    crops: str | Path | None,
    check_data: str | Path | None,
    max_loss: float | None,
    compatible: str | None,
) -> None:
    suffix = out.suffix.lower()
    if suffix not in FORMATS:
        raise VultusError(f"--out {out}: the file must end in .onnx, .xml (OpenVINO) or .pte (ExecuTorch)")
    if out.is_dir():
        raise VultusError(f"--out {out} is a folder; name a file")
    lossy = precision not in (None, "fp32")
    if precision is not None and precision not in PRECISIONS:
        raise VultusError(f"--precision {precision}: choose one of {', '.join(PRECISIONS)}")
    if lossy and check_data is None:
        raise VultusError(f"--precision {precision} needs --check DATA/val: real pairs to measure its loss on")
    if precision == "int8" and crops is None:
        raise VultusError("--precision int8 needs --calibration-crops DATA/train: real crops for its value ranges")
    if precision != "int8" and crops is not None:
        raise VultusError("--calibration-crops has no effect without --precision int8; leave it out")
    if not lossy and max_loss is not None:
        raise VultusError("--max-loss has no effect without a lower --precision; leave it out")
    if suffix == ".pte" and lossy:
        raise VultusError(f"--precision {precision}: ExecuTorch files are written in fp32 only")
    if compatible not in (None, "insightface", "opencv"):
        raise VultusError(f"--compatible {compatible}: choose insightface or opencv")
    if compatible == "insightface" and (suffix != ".onnx" or precision == "bf16"):
        raise VultusError("--compatible insightface: that package runs .onnx files in fp32, fp16 or int8")
    if compatible == "opencv" and (suffix != ".onnx" or lossy):
        raise VultusError("--compatible opencv: FaceRecognizerSF is checked with .onnx files in fp32 only")


def _open(
    model: str | Path, out: Path, name: str | None, licence: str | None, models_dir: str | None, detector: str | None
) -> _Source:
    if not Path(model).is_dir():
        found, card = open_model(model, models_dir, detector)
        if detector is not None and (card.calibration is None or card.calibration.crops is None):
            raise CalibrationError(f"no calibration of {card.name} on crops by {detector} is known", "no_calibration")
        chain = card.provenance.get("ancestry") or []
        terms = licence + _inherited(chain) if licence else card.licence
        return _Source(found, dataclasses.replace(card, name=name or card.name, licence=terms))
    from vultus.recognizer.export import as_onnx
    from vultus.training import open_run
    from vultus.training.run import load_model

    run = open_run(model)
    network, which = load_model(run)
    provenance = {
        "seen": run.seen.to_dict() if run.seen else None,
        "recipe": run.recipe.model_dump(exclude_none=True),
        "checkpoint": which,
        "ancestry": run.facts.get("ancestry"),
        **{
            key: run.facts.get(key) for key in ("dataset", "dataset_digest", "images", "identities", "commit", "vultus")
        },
    }
    terms = (licence or UNSTATED) + _inherited(run.facts.get("ancestry") or [])
    found, contract = as_onnx(network)
    return _Source(found, Card(name or out.stem, contract, terms, provenance), network)


def _convert(source: _Source, precision: str, crops: FaceDataset | None) -> tuple[onnx.ModelProto, Card]:
    """The network in `precision` and the card of it; the source itself where it is that already."""
    contract = source.card.contract
    if contract.precision == precision:
        return source.model, source.card
    if contract.precision != "float32":
        raise VultusError(
            f"{source.card.name} is {contract.precision} already, which cannot become {precision}; convert the float32 "
            "file that it was made from"
        )
    facts: dict[str, Any] = {"from_contract": contract.id, "precision": precision, "tool": tool(precision)}
    model = source.model
    if precision == "float16":
        model = to_float16(model, _probe(contract))
    elif precision == "int8":
        assert crops is not None
        rows = np.sort(np.random.default_rng(0).permutation(len(crops))[:CROPS])
        model = to_int8(model, to_pixels(list(crops.crops(rows)), contract))
        facts["calibration_crops"] = {"data": describe(crops), "digest": crops.digest, "count": len(rows)}
    card = _changed(source.card, weights=canonical_digest(model), precision=precision)
    return model, _with_facts(card, conversion=facts)


def _probe(contract: Contract) -> np.ndarray:
    """Six procedural crops as the network takes them."""
    from vultus.models.parity import parity_crops

    return to_pixels(list(parity_crops()), contract)


def _measured(
    card: Card, after: Recognizer, before: Recognizer | None, data: FaceDataset, seen: Seen | None, max_loss: float
) -> Card:
    found = check(after, data, seen, before)
    if before is not None:
        found.refuse_beyond(max_loss, card.contract.precision)
        card = _with_facts(card, conversion={**card.provenance["conversion"], "check": found.decision(max_loss)})
    return _with_facts(card, measured=found.to_dict())


def _write(
    converted: onnx.ModelProto, card: Card, out: Path, source: _Source, model: str | Path, models_dir: str | None
) -> None:
    suffix = out.suffix.lower()
    if suffix == ".onnx":
        write_card(converted, card, out)
    elif suffix == ".xml":
        from vultus.recognizer.openvino_ir import write_ir

        write_ir(converted, card, out, model_card(card))
    else:
        from vultus.recognizer.phone import to_executorch

        network = source.network
        if network is None:
            from vultus.models.weights import load_network

            network = load_network(model, models_dir)
        program = to_executorch(network)
        save_atomically((card.to_json() + "\n").encode(), out.with_suffix(".json"))
        save_atomically(program, out)


def _changed(card: Card, **contract: Any) -> Card:
    """The card with another contract. Thresholds and figures belong to the old one."""
    changed = dataclasses.replace(card.contract, **contract)
    if changed == card.contract:
        return card
    facts = {key: value for key, value in card.provenance.items() if key != "measured"}
    return dataclasses.replace(card, contract=changed, calibration=None, provenance=facts)


def _with_facts(card: Card, **facts: Any) -> Card:
    return dataclasses.replace(card, provenance={**card.provenance, **facts})


def _inherited(ancestry: list[dict[str, Any]]) -> str:
    """What the weights that something was made of forbid whoever uses it."""
    asked = [f"{link['name']} ({link['licence']})" for link in ancestry if link.get("commercial_use") == "forbidden"]
    return f"; commercial use forbidden by what it was made from: {', '.join(asked)}" if asked else ""


def calibrate_on(recognizer: Recognizer, data: FaceDataset, max_per_identity: int | None = 10) -> Calibration:
    """Thresholds by false match rate of `recognizer` on a dataset view."""
    if max_per_identity is not None:
        data = data.at_most(max_per_identity)
    embedder = Embedder(recognizer.name, recognizer.embed, recognizer.contract.id)
    return calibrate(
        embedder.dataset(data),
        data.labels,
        source=describe(data),
        contract_id=recognizer.contract.id,
        split=data.name or "all",
        data_digest=data.digest,
        max_per_identity=max_per_identity,
        mated_failures=lost_comparisons(data),
        people=People.of(data.identities, data.people),
        crops=data.origin,
    )


def _refuse_seen(data: FaceDataset, seen: Seen | None) -> None:
    """Identities that were trained on, or on which the checkpoint was chosen, make thresholds look too good."""
    for count, role in zip(seen.overlap(data) if seen else (0, 0), ("training", "validation"), strict=True):
        if count:
            raise VultusError(
                f"{data.title} shares {count} identities with the {role} data of the run; calibrate on a split kept "
                "apart, as `vultus data split` makes before training"
            )


def _refuse_shared(crops: FaceDataset, views: dict[str, FaceDataset | None]) -> None:
    """People whose crops set the value ranges must not be those on whom the result is measured."""
    if crops.name == "test":
        raise VultusError(f"--calibration-crops {crops.title}: a test split is for measuring; give DATA/train")
    ranged = Seen.of(crops, None)
    for option, view in views.items():
        if view is not None and (shared := ranged.overlap(view)[0]):
            raise VultusError(
                f"{option} {view.title} shares {shared} identities with --calibration-crops {crops.title}; choose "
                "disjoint splits, as `vultus data split` makes"
            )
