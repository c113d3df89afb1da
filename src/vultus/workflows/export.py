"""From a training run to a model file that describes itself, with its calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from vultus.data import FaceDataset, Seen
from vultus.errors import VultusError
from vultus.evaluation import Calibration, calibrate
from vultus.recognizer import Card, Recognizer, export_onnx, write_card
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
    from vultus.training.run import load_model

    out = Path(out)
    if out.suffix.lower() != ".onnx":
        raise VultusError(f"--out {out}: the file must end in .onnx")
    if out.is_dir():
        raise VultusError(f"--out {out} is a folder; name a file")
    opened = open_run(run)
    data = None
    if calibrate_data is not None:
        data = FaceDataset.open(calibrate_data)
        _refuse_seen(data, opened.seen)
    network, which = load_model(opened)
    provenance = {
        "seen": opened.seen.to_dict() if opened.seen else None,
        "recipe": opened.recipe.model_dump(exclude_none=True),
        "checkpoint": which,
        "ancestry": opened.facts.get("ancestry"),
        **{
            key: opened.facts.get(key)
            for key in ("dataset", "dataset_digest", "images", "identities", "commit", "vultus")
        },
    }
    licence += _inherited(opened.facts.get("ancestry") or [])
    temporary = out.with_name(out.name + ".uncalibrated") if data is not None else out
    try:
        card = export_onnx(
            network,
            temporary,
            name=name or out.stem,
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


def _inherited(ancestry: list[dict[str, Any]]) -> str:
    """What the weights that a run began with ask of whoever uses it, as far as that is not plainly everything."""
    asked = [f"{link['name']} ({link['licence']})" for link in ancestry if link.get("commercial_use") == "forbidden"]
    return f"; commercial use forbidden by what it was fine-tuned from: {', '.join(asked)}" if asked else ""


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


def _refuse_seen(data: FaceDataset, seen: Seen | None) -> None:
    """Identities that were trained on, or on which the checkpoint was chosen, make thresholds look too good."""
    for count, role in zip(seen.overlap(data) if seen else (0, 0), ("training", "validation"), strict=True):
        if count:
            raise VultusError(
                f"{data.title} shares {count} identities with the {role} data of the run; calibrate on a split kept "
                "apart, as `vultus data split` makes before training"
            )
