"""From a training run to a model file that describes itself, with its calibration."""

from __future__ import annotations

from pathlib import Path

import onnx

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.evaluation import Calibration, calibrate
from vultus.recognizer import Card, Recognizer, export_onnx, load_recognizer, read_card, write_card
from vultus.workflows.embedder import Embedder
from vultus.workflows.evaluate import describe

UNSTATED = "not stated: decided by whoever trained it and by the terms of the training photographs"


def export(
    run: str | Path,
    out: str | Path,
    *,
    calibrate_data: str | Path | None = None,
    name: str | None = None,
    licence: str = UNSTATED,
) -> Card:
    """Write the run's best network as ONNX at `out`; with `calibrate_data`, a split kept apart, thresholds go in too.

    Raises:
        VultusError: no run, no checkpoint, or a calibration split that shares identities with the training data.
    """
    from vultus.training import open_run
    from vultus.training.embed import MEAN, STD
    from vultus.training.run import load_model

    out = Path(out)
    if out.suffix.lower() != ".onnx":
        raise VultusError(f"--out {out}: the file must end in .onnx")
    opened = open_run(run)
    data = None
    if calibrate_data is not None:
        data = FaceDataset.open(calibrate_data)
        _refuse_seen(data, opened.recipe.data.train, opened.facts.get("validation"))
    network, which = load_model(opened)
    section = opened.recipe.model
    provenance = {
        "recipe": opened.recipe.model_dump(exclude_none=True),
        "checkpoint": which,
        **{
            key: opened.facts.get(key)
            for key in ("dataset", "dataset_digest", "images", "identities", "commit", "vultus")
        },
    }
    temporary = out.with_name(out.name + ".uncalibrated") if data is not None else out
    try:
        card = export_onnx(
            network,
            temporary,
            name=name or out.stem,
            dim=section.embedding_dim,
            mean=MEAN,
            std=STD,
            licence=licence,
            provenance=provenance,
        )
        if data is not None:
            model = onnx.load(str(temporary))
            card = card.with_calibration(calibrate_on(Recognizer(model, card), data))
            write_card(model, card, out)
    finally:
        if temporary != out:
            temporary.unlink(missing_ok=True)
    return card


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
    )


def recalibrate(model: str | Path, dataset: str | Path, out: str | Path, models_dir: str | None = None) -> Card:
    """Give a recogniser (an .onnx file of ours) a new calibration; the contract and so its galleries stay valid."""
    recognizer = load_recognizer(model, models_dir)
    card = recognizer.card.with_calibration(calibrate_on(recognizer, FaceDataset.open(dataset)))
    network = onnx.load(str(model))
    if read_card(network, str(model)) is None:
        raise VultusError(f"{model} is no file of `vultus export`; only those can be calibrated in place")
    write_card(network, card, out)
    return card


def _refuse_seen(data: FaceDataset, train: str, validation: str | None) -> None:
    """Identities that were trained on, or on which the checkpoint was chosen, make thresholds look too good."""
    for role, path in (("training", train), ("validation", _beside(train, validation))):
        if path is None:
            continue
        try:
            seen = FaceDataset.open(path)
        except VultusError:
            continue  # the run may have moved to another machine than its data
        if seen.root.resolve() == data.root.resolve() and (shared := set(seen.identities) & set(data.identities)):
            raise VultusError(
                f"{data.title} shares {len(shared)} identities with the {role} data {seen.title}; calibrate on a split "
                "kept apart, as `vultus data split` makes"
            )


def _beside(train: str, validation: str | None) -> str | None:
    return str(Path(train).parent / Path(validation).name) if validation else None
