"""The contact sheet of a dataset: a row an identity, its images side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vultus.data import FaceDataset
from vultus.data.synth import contact_sheet
from vultus.errors import VultusError
from vultus.files import save_atomically

ROWS, COLUMNS = 12, 8


def write_contact_sheet(data: FaceDataset, path: str | Path, rows: int = ROWS, columns: int = COLUMNS) -> Path:
    """Write a PNG: identities with the most images first, so that wrong labels and bad alignment show."""
    path = Path(path)
    order = np.argsort(-data.counts, kind="stable")[: max(1, rows // 2)]
    rest = np.setdiff1d(np.arange(len(data.identities)), order)
    spread = rest[np.linspace(0, len(rest) - 1, rows - len(order)).astype(int)] if len(rest) else rest
    blank = np.full((112, 112, 3), 235, np.uint8)
    crops = []
    for label in [*order, *np.unique(spread)]:
        chosen = np.flatnonzero(data.labels == label)[:columns]
        crops += [*data.crops(chosen), *[blank] * (columns - len(chosen))]
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise VultusError(f"{path}: a contact sheet ends in .png or .jpg")
    content = cv2.imencode(path.suffix, np.ascontiguousarray(contact_sheet(crops, columns)[:, :, ::-1]))[1]
    save_atomically(content.tobytes(), path)
    return path
