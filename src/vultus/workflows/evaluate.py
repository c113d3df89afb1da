"""Measure a recogniser on a dataset: every pair of images, or a published list of pairs with its folds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vultus.data import FaceDataset, Seen
from vultus.errors import VultusError
from vultus.evaluation import calibrate, verify_all_pairs, verify_cross
from vultus.files import save_atomically
from vultus.workflows.embedder import Embedder, open_embedder
from vultus.workflows.pairs import evaluate_pairs
from vultus.workflows.results import Against, Evaluation, PairsEvaluation

if TYPE_CHECKING:
    from vultus.recognizer import Recognizer


def evaluate(
    model: str | Path | Recognizer | Embedder,
    dataset: str | Path,
    *,
    pairs: str | Path | None = None,
    out: str | Path | None = None,
    max_per_identity: int | None = None,
    calibration: str | Path | None = None,
    source: str | None = None,
    models_dir: str | None = None,
    against: str | Path | Embedder | None = None,
) -> Evaluation | PairsEvaluation:
    """Measure `model` (run directory, name, .onnx file, or an open recogniser) on `dataset` (DATA or DATA/SPLIT).

    Args:
        pairs: an LFW pairs file or CSV; then accuracy over its folds instead of all pairs.
        out: a folder for report.html and figures.json.
        calibration: a JSON file to write with the thresholds by error rate that these scores give.
        source: the data in words, kept in the calibration; by default its name and counts.
        against: an earlier recogniser: also measure probes by `model` against a gallery enrolled with it.
        max_per_identity: only the first images of each identity, so that a few people do not decide the figures.

    Raises:
        VultusError: a model or dataset that cannot be opened, one identity only, no identity with two images.
    """
    embedder = model if isinstance(model, Embedder) else _embedder(model, models_dir)
    data = FaceDataset.open(dataset)
    if pairs is not None:
        given = {"--out": out, "--calibration": calibration, "--max-per-identity": max_per_identity, "--source": source}
        given["--against"] = against
        if idle := [name for name, value in given.items() if value is not None]:
            raise VultusError(f"{idle[0]} has no effect with --pairs; leave one of them out")
        return evaluate_pairs(embedder, data, Path(pairs), notes=_notes(embedder, data))
    if source is not None and calibration is None:
        raise VultusError("--source has no effect without --calibration; leave it out")
    for path in (out, Path(calibration).parent if calibration else None):
        _make_folder(path)
    if max_per_identity is not None:
        if max_per_identity < 2:
            raise VultusError(f"--max-per-identity {max_per_identity}: at least 2 are needed for a mated pair")
        data = data.at_most(max_per_identity)
    embeddings = embedder.dataset(data)
    verification = verify_all_pairs(embeddings, data.labels)
    earlier = None if against is None else _against(against, data, embeddings, models_dir)
    if calibration is not None:
        _write_calibration(Path(calibration), embedder, data, embeddings, source, max_per_identity)
    notes = _notes(embedder, data)
    result = Evaluation(
        embedder.name, data.title, data.digest, max_per_identity, verification, notes=notes, against=earlier
    )
    if out is None:
        return result
    from vultus.workflows.evaluation_report import write_evaluation_report

    folder = Path(out)
    path = write_evaluation_report(folder, result, data, embedder)
    (folder / "figures.json").write_text(json.dumps(result.to_dict(), indent=1) + "\n")
    return dataclasses.replace(result, report=path)


def _against(
    model: str | Path | Embedder, data: FaceDataset, embeddings: np.ndarray, models_dir: str | None
) -> Against:
    """The earlier recogniser with itself, and with these embeddings by the new one."""
    embedder = model if isinstance(model, Embedder) else _embedder(model, models_dir)
    old = embedder.dataset(data)
    cross = verify_cross(old, embeddings, data.labels)
    return Against(embedder.name, verify_all_pairs(old, data.labels), cross)


def _write_calibration(
    path: Path, embedder: Embedder, data: FaceDataset, embeddings: np.ndarray, source: str | None, capped: int | None
) -> None:
    if embedder.contract_id is None:
        raise VultusError(f"{embedder.name} is a training run without a contract; export it first, with --calibrate")
    found = calibrate(
        embeddings,
        data.labels,
        source=source or describe(data),
        contract_id=embedder.contract_id,
        split=data.name or "all",
        data_digest=data.digest,
        max_per_identity=capped,
    )
    save_atomically((found.to_json() + "\n").encode(), path)


def _make_folder(path: str | Path | None) -> None:
    """Before the long work, not after it."""
    try:
        if path is not None:
            Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VultusError(f"cannot write into {path}: {error.strerror}; choose another folder") from None


def describe(data: FaceDataset) -> str:
    """A dataset view in words, for the provenance of thresholds."""
    return f"{data.title}, {len(data):,} images of {len(data.identities):,} identities"


def _embedder(model: Any, models_dir: str | None) -> Embedder:
    if isinstance(model, str | Path):
        return open_embedder(model, models_dir)
    return Embedder(model.name, model.embed, model.contract.id, Seen.from_dict(model.card.provenance.get("seen")))


def _notes(embedder: Embedder, data: FaceDataset) -> tuple[str, ...]:
    """What a reader of the figures must know about the data."""
    notes = []
    if data.info["made"].get("procedural"):
        notes.append("These are procedural faces: the figures say nothing about real people.")
    if embedder.seen is not None:
        trained, validated = embedder.seen.overlap(data)
        if trained:
            notes.append(f"{trained} of the {len(data.identities)} identities were TRAINED on: this is no evidence.")
        if validated:
            notes.append(f"The checkpoint was chosen on {validated} of the identities: figures a little too good.")
    return tuple(notes)
