"""From photographs in identity folders (or a CSV listing) to a dataset: detect, align, write. Resumable."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vultus.data.dataset import encode_crop
from vultus.data.failures import NO_FACE, SKIPPED
from vultus.data.processes import in_processes
from vultus.data.write import COLUMNS, CropWriter
from vultus.errors import ImageError, VultusError
from vultus.evaluation.calibration import CropOrigin
from vultus.faces import align, find_photographs, load_detector, read_image, select_faces
from vultus.faces.face import Select
from vultus.terminal import track
from vultus.zoo import TEMPLATE

PIECE = 64
"""Photographs a piece: what an interruption may lose."""


@dataclass(frozen=True)
class BuildReport:
    """What `build_dataset` did."""

    info: dict[str, Any]
    photographs: int
    skipped: list[tuple[str, str]]
    """(photograph, reason)."""


def build_dataset(
    photographs: str | Path,
    out: str | Path,
    *,
    select: Select = "center",
    aligned: bool = False,
    detector: str = "yunet",
    models_dir: str | None = None,
    workers: int | None = None,
) -> BuildReport:
    """Make a dataset at `out` of a folder with a folder an identity, or of a CSV `path,identity`.

    Further columns of a CSV (sex, camera ...) are kept as columns of text, for figures by group.

    Photographs that cannot be read or show no face are skipped and listed in `out/skipped.csv`. Started again after an
    interruption, it goes on where it stopped.

    Args:
        select: which of several faces is the named one: nearest the centre, the largest, or all (group by identity).
        aligned: the pictures are aligned crops already; they are only brought to 112x112.

    Raises:
        VultusError: nothing to read, `out` in use, or no photograph gave a crop.
    """
    origin, listing = read_listing(Path(photographs))
    settings = {"select": None if aligned else select, "aligned": aligned, "detector": None if aligned else detector}
    extra = read_extra(Path(photographs))
    planned = [settings, [(str(p), n, _stamp(p)) for p, n in listing]]
    if extra:
        planned.append([(name, sorted((*key, value) for key, value in of.items())) for name, of in extra.items()])
    plan = hashlib.sha256(json.dumps(planned).encode()).hexdigest()
    origin_of_crops: dict[str, Any] = {}
    if not aligned:
        loaded = load_detector(detector, models_dir)  # a missing model file is said here, once, not by each worker
        origin_of_crops = {"crops": CropOrigin(loaded.name, loaded.digest, TEMPLATE).to_dict()}
    writer = CropWriter(out, plan)
    pieces = [listing[start : start + PIECE] for start in range(0, len(listing), PIECE)]
    todo = [index for index in range(len(pieces)) if not writer.has(index)]
    work = partial(
        _cut_piece, origin=str(origin), select=select, aligned=aligned, detector=detector, models_dir=models_dir
    )
    done = in_processes(work, [pieces[index] for index in todo], workers or os.cpu_count() or 1)
    for index, (rows, skipped) in zip(todo, track(done, "align faces", len(todo), "pieces"), strict=True):
        writer.add(index, rows, skipped)
    skipped = [(path, reason) for index in range(len(pieces)) for path, reason in writer.skipped(index)]
    if len(skipped) == len(listing):
        reasons = Counter(reason for _, reason in skipped).most_common(1)[0][0]
        writer.discard()
        raise VultusError(
            f"none of the {len(listing)} photographs of {photographs} gave a crop (most often: {reasons})"
        )
    made = {"from": Path(photographs).name, "photographs": len(listing), **settings, **origin_of_crops}
    info = writer.finish(len(pieces), (112, 112), made, extra)
    if skipped:
        whose = {os.path.relpath(path, origin): identity for path, identity in listing}
        with (Path(out) / SKIPPED).open("w", newline="", encoding="utf-8") as file:
            lines = [(path, whose.get(path, ""), reason) for path, reason in skipped]
            csv.writer(file).writerows([("path", "identity", "reason"), *lines])
    return BuildReport(info, len(listing), skipped)


def read_listing(photographs: Path) -> tuple[Path, list[tuple[Path, str]]]:
    """(folder that paths are relative to, [(photograph, identity)]) of identity folders or a CSV, by identity."""
    if photographs.is_dir():
        folders = sorted(p for p in photographs.iterdir() if p.is_dir() and not p.name.startswith("."))
        listing = [(photo, folder.name) for folder in folders for photo in find_photographs(folder)]
        if not listing:
            loose = len(find_photographs(photographs))
            hint = f"; its {loose} photographs lie loose: put each person's into a folder of theirs" if loose else ""
            raise VultusError(f"{photographs} has no identity folders with photographs{hint}")
        return photographs, listing
    if photographs.suffix.lower() != ".csv" or not photographs.is_file():
        raise VultusError(f"{photographs} is neither a folder nor a .csv file with the columns path,identity")
    reader = _read_csv(photographs)
    listing = []
    for number, row in enumerate(reader, 2):
        if not row["path"] or not row["identity"]:
            raise VultusError(f"{photographs}, line {number}: path or identity is empty")
        listing.append((photographs.parent / row["path"], row["identity"]))
    if not listing:
        raise VultusError(f"{photographs} lists no photographs")
    return photographs.parent, sorted(listing, key=lambda entry: (entry[1], str(entry[0])))


def read_extra(photographs: Path) -> dict[str, dict[tuple[str, str], str]]:
    """Further columns of a CSV that `read_listing` accepts: name -> {(identity, source): text}; none of a folder."""
    if photographs.is_dir():
        return {}
    reader = _read_csv(photographs)
    names = [name for name in reader.fieldnames or () if name and name not in ("path", "identity")]
    if taken := [name for name in names if name in COLUMNS]:
        raise VultusError(f"{photographs}: a dataset has a column {taken[0]} of its own; call yours otherwise")
    extra: dict[str, dict[tuple[str, str], str]] = {name: {} for name in names}
    for row in reader:
        source = os.path.relpath(photographs.parent / row["path"], photographs.parent)
        for name in names:
            extra[name][row["identity"], source] = (row[name] or "").strip()
    return extra


def _read_csv(photographs: Path) -> csv.DictReader[str]:
    try:
        lines = photographs.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise VultusError(f"{photographs} is no text in UTF-8; save it as UTF-8") from None
    reader = csv.DictReader(lines)
    if not {"path", "identity"} <= set(reader.fieldnames or ()):
        raise VultusError(f"{photographs} must have the columns path,identity; it has {reader.fieldnames}")
    return reader


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change: a photograph replaced meanwhile makes another plan."""
    try:
        status = path.stat()
    except OSError:
        return None  # listed but missing: skipped by name later
    return status.st_size, status.st_mtime_ns


def _cut_piece(
    piece: list[tuple[Path, str]], *, origin: str, select: Select, aligned: bool, detector: str, models_dir: str | None
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Rows and skipped photographs of one piece."""
    rows: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    for path, identity in piece:
        source = os.path.relpath(path, origin)
        try:
            image = read_image(path)
            found = _aligned_crop(image) if aligned else _cut(image, select, detector, models_dir)
        except ImageError as error:
            skipped.append((source, str(error).replace(str(path), "").strip(" :")))
            continue
        if not found:
            skipped.append((source, NO_FACE))
        for crop, box, landmarks, score in found:
            rows.append(
                {
                    "crop": encode_crop(crop),
                    "identity": identity,
                    "source": source,
                    "box": np.asarray(box, np.float32).reshape(-1).tolist(),
                    "landmarks": np.asarray(landmarks, np.float32).reshape(-1).tolist(),
                    "detection_score": float(score),
                }
            )
    return rows, skipped


def _cut(image: np.ndarray, select: Select, detector: str, models_dir: str | None) -> list[tuple]:
    faces = load_detector(detector, models_dir, threads=1).detect(image)
    chosen = select_faces(faces, (image.shape[0], image.shape[1]), select)
    return [(align(image, face.landmarks), face.box, face.landmarks, face.score) for face in chosen]


def _aligned_crop(image: np.ndarray) -> list[tuple]:
    height, width = image.shape[:2]
    if (height, width) == (112, 96):  # SphereFace's template: ArcFace's without 8 columns on each side
        image = cv2.copyMakeBorder(image, 0, 0, 8, 8, cv2.BORDER_CONSTANT)
    elif height != width:
        raise ImageError(f"is {width}x{height}; an aligned crop is square (or 96x112); build without --aligned")
    if image.shape[:2] != (112, 112):
        image = cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA if height > 112 else cv2.INTER_LINEAR)
    return [(image, [0, 0, width, height], [], float("nan"))]
