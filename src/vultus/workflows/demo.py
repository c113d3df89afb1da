"""The whole way in one command: faces, training, evidence, thresholds, enrolment, identification, a report."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vultus.data import FaceDataset, build_dataset, split_dataset
from vultus.errors import CalibrationError, FileError, VultusError
from vultus.files import save_atomically
from vultus.formats import read_text
from vultus.gallery import Gallery
from vultus.gallery.protection import KeyEncryptionKey
from vultus.recognizer import Recognizer, load_recognizer
from vultus.terminal import say
from vultus.workflows.baselines import baselines
from vultus.workflows.embedder import open_embedder
from vultus.workflows.evaluate import evaluate
from vultus.workflows.export import export
from vultus.workflows.results import DemoResult, Evaluation, Search
from vultus.workflows.synthesise import synthesise

IDENTITIES, IMAGES = 1600, 12
"""Procedural people and images of each: enough to learn from in four minutes on two cores."""
SHARES = {"train": 0.75, "val": 0.03, "calibration": 0.1, "test": 0.1, "people": 0.02}
PHOTO_SHARES = {"train": 0.6, "val": 0.05, "calibration": 0.15, "test": 0.1, "people": 0.1}
LEAST_PEOPLE = 40
"""Fewer people with two photographs cannot be dealt to five splits that say anything."""
ENROLLED_IMAGES = 3
FPIRS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""The demo takes the lowest that its calibration supports."""


def run_demo(out: Path, *, minutes: float, photos: Path | None, seed: int) -> DemoResult:
    """Do it all in the folder `out`, print what happens, write `out`/report.html.

    Raises:
        VultusError: `out` in use, or photographs of too few people.
    """
    from vultus.workflows.demo_report import show_table, write_demo_report

    _claim(out, {"minutes": minutes, "photos": str(photos) if photos else None, "seed": seed})
    steps = _Steps(6)
    data = out / "data"
    with steps("faces"):
        if not (data / "dataset.json").is_file():
            if photos is None:
                synthesise(data, identities=IDENTITIES, images=IMAGES, seed=seed)
            else:
                _build(photos, data)
        split_dataset(data, SHARES if photos is None else PHOTO_SHARES, seed=seed)
    with steps("training"):
        run = _train(data, out / "run", minutes, seed, photos is None)
    with steps("evidence on people never trained on"):
        evaluation = evaluate(run, data / "test", baselines=False)
        assert isinstance(evaluation, Evaluation)
        others = baselines(run, FaceDataset.open(data / "train"), FaceDataset.open(data / "test"))
    with steps("model file with thresholds"):
        model = out / "recognizer.onnx"
        export(run, model, calibrate_data=data / "calibration", check_data=data / "test", name="demo")
        recognizer = load_recognizer(model)
    with steps("enrolment and identification"):
        fpir, searches = _search(out / "people.db", model, recognizer, FaceDataset.open(data / "people"))
    result = DemoResult(out, photos is None, evaluation, others, recognizer, fpir, searches, steps.seconds)
    with steps("report"):
        write_demo_report(result)
    show_table(result)
    return result


def _claim(out: Path, settings: dict[str, object]) -> None:
    """Begin in an empty folder, or go on with an unfinished demo of the same settings."""
    marker, wanted = out / "demo.json", json.dumps(settings)
    if out.exists() and (out.is_file() or any(out.iterdir())):
        ours = marker.is_file() and read_text(marker) == wanted and not (out / "report.html").exists()
        if not ours:
            raise VultusError(f"{out} exists and is not empty; remove it or choose another --out")
        for left in out.glob("people.*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {out}: {error.strerror}; choose another --out", code="unwritable") from None
    save_atomically(wanted.encode(), marker)


class _Steps:
    """Says which step begins and how long it took."""

    def __init__(self, count: int) -> None:
        self._count, self.seconds = count, {}

    @contextmanager
    def __call__(self, name: str):
        started = time.monotonic()
        say(f"[{len(self.seconds) + 1}/{self._count}] {name}", err=True)
        yield
        self.seconds[name] = time.monotonic() - started
        say(f"      done in {self.seconds[name]:.0f} s", err=True)


def _build(photos: Path, data: Path) -> None:
    try:
        report = build_dataset(photos, data)
    except VultusError:
        shutil.rmtree(data.parent)
        raise
    people = report.info["identities_with_two_or_more"]
    if people < LEAST_PEOPLE:
        shutil.rmtree(data.parent)  # nothing half-written
        raise VultusError(
            f"{photos} shows {people} people with two or more usable photographs, training needs at least "
            f"{LEAST_PEOPLE}; for few people use a published recogniser: vultus gallery enroll --gallery people.db "
            "--model sface NAME PHOTO..."
        )


def _train(data: Path, run: Path, minutes: float, seed: int, procedural: bool) -> Path:
    from vultus.training import Recipe, open_run, train

    if (run / "last.pt").is_file():  # of an interrupted demo
        begun = open_run(run)
        return run if begun.load()["step"] >= begun.facts["steps"] else train(run, resume=True).path
    shutil.rmtree(run, ignore_errors=True)
    recipe = Recipe.from_dict(
        {
            "run": str(run),
            "data": {"train": str(data / "train"), "min_images": 2},
            "augment": {"flip": 0.5} if procedural else {"flip": 0.5, "shift": 0.5, "color": 0.3, "erase": 0.3},
            "model": {"name": "tinyresnet", "embedding_dim": 128},
            "loss": {"name": "arcface", "scale": 16.0, "margin": 0.1},
            "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 5e-4},
            "schedule": {"name": "cosine", "warmup": 0.05},
            "training": {"minutes": minutes, "batch_size": 64, "seed": seed},
        },
        "the demo's recipe",
    )
    return train(recipe).path


def _search(
    database: Path, model: Path, recognizer: Recognizer, data: FaceDataset
) -> tuple[float | None, list[Search]]:
    """Enrol every second person, then search for their other images and for those of the strangers."""
    embeddings = open_embedder(model).dataset(data)
    contract = recognizer.contract.id
    probes: list[tuple[int, str, bool]] = []
    key = database.with_suffix(".key")  # beside it, as nowhere else: the demo leaves nothing outside its folder
    save_atomically(KeyEncryptionKey.generate().encoded.encode(), key, mode=0o600, overwrite=False)
    # Four minutes of training do not tell people apart well enough to doubt whose photograph is whose.
    unguarded = {"outlier_fmr": None, "duplicate_fpir": None}
    with Gallery.open(database, model=str(model), key=f"file:{key}", settings=unguarded) as gallery:
        for label, name in enumerate(data.identities):
            rows = np.flatnonzero(data.labels == label)
            enrolled = label % 2 == 0 and len(rows) > 1
            keep = min(ENROLLED_IMAGES, len(rows) - 1) if enrolled else 0
            if enrolled:
                gallery.enroll_embeddings(name, embeddings[rows[:keep]], contract)
            probes += [(int(row), name, enrolled) for row in rows[keep : keep + 2]]
        fpir = _supported(gallery)
        if fpir is None:
            return None, []
        decisions = gallery.identify_embeddings(embeddings[[row for row, _, _ in probes]], contract, fpir)
    return fpir, [Search(*probe, decision) for probe, decision in zip(probes, decisions, strict=True)]


def _supported(gallery: Gallery) -> float | None:
    for fpir in FPIRS:
        try:
            gallery.threshold(fpir)
        except CalibrationError:
            continue
        return fpir
    return None
