"""A copy of a dataset as other conditions would have shown it, to measure (and adapt) a recogniser there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vultus.data import CropWriter, FaceDataset, degrade
from vultus.data.dataset import decode_crop, encode_crop
from vultus.data.failures import SKIPPED
from vultus.data.processes import in_processes
from vultus.data.write import COLUMNS
from vultus.errors import VultusError
from vultus.files import writing
from vultus.formats import read_array
from vultus.terminal import track

SHIFTS = {name.replace("_", "-"): change for name, change in degrade.SHIFTS.items()}
PIECE = 1000
"""Crops a piece."""


def shift_dataset(
    dataset: str | Path, out: str | Path, how: str, *, seed: int = 0, workers: int | None = None
) -> dict[str, Any]:
    """Write every crop of `dataset` changed by `how` to `out`, with the same splits; resumable. Returns its manifest.

    Its further columns and its list of photographs without a face (skipped.csv) come along. The change of a crop
    follows from `seed` and its number, so the same call makes the same copy. The copy remembers whose people it shows:
    a recogniser trained on the original is known to have seen them.

    Raises:
        VultusError: an unknown change, or a split in place of a whole dataset.
    """
    if how not in SHIFTS:
        raise VultusError(f"--as {how}: choose {' or '.join(SHIFTS)}")
    data = FaceDataset.open(dataset)
    if data.name is not None:
        raise VultusError(f"{dataset} is a split of {data.root}; shift the whole dataset, its splits come along")
    plan = hashlib.sha256(json.dumps(["shift", data.digest, how, seed]).encode()).hexdigest()
    writer = CropWriter(out, plan)
    starts = list(range(0, len(data), PIECE))
    todo = [number for number in range(len(starts)) if not writer.has(number)]
    work = partial(_shift_piece, root=str(data.root), how=how, seed=seed)
    pieces = in_processes(work, [starts[number] for number in todo], workers or os.cpu_count() or 1)
    for number, rows in zip(todo, track(pieces, f"shift {data.title}", len(todo), "pieces"), strict=True):
        writer.add(number, rows)
    made = {**data.info["made"], "shifted": how, "shift_seed": seed, "people": data.people}
    info = writer.finish(len(starts), (data.info["crop_size"][0], data.info["crop_size"][1]), made, _extra(data))
    if (data.root / SKIPPED).is_file():
        shutil.copy(data.root / SKIPPED, Path(out) / SKIPPED)
    if (data.root / "splits").is_dir():
        shutil.copytree(data.root / "splits", Path(out) / "splits", dirs_exist_ok=True)
    for split in (Path(out) / "splits").glob("*.npy"):
        # Rows that the original excludes are not in the copy, and the others move up.
        rows = read_array(split)
        with writing(split) as file:
            np.save(file, np.searchsorted(data.rows, rows[np.isin(rows, data.rows)]))
    return info


def _extra(data: FaceDataset) -> dict[str, dict[tuple[str, str], str]]:
    """The columns of text that only some datasets have, as `CropWriter.finish` takes them."""
    keys = list(zip(data.column("identity"), data.sources, strict=True))
    names = [name for name in data.table([0])[0] if name not in COLUMNS]
    return {name: dict(zip(keys, data.column(name), strict=True)) for name in names}


def _shift_piece(start: int, *, root: str, how: str, seed: int) -> list[dict[str, Any]]:
    import cv2

    cv2.setNumThreads(1)
    rows = FaceDataset.open(root).table(range(start, start + PIECE))
    for offset, row in enumerate(rows):
        random = np.random.default_rng((seed, start + offset))
        row["crop"] = encode_crop(SHIFTS[how](decode_crop(row["crop"]), random))
    return rows
