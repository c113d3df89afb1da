"""A dataset of procedural faces."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from vultus.data import CropWriter
from vultus.data.dataset import encode_crop
from vultus.data.processes import in_processes
from vultus.errors import VultusError
from vultus.terminal import track

PIECE = 25
"""Identities a piece."""


def synthesise(
    out: str | Path, *, identities: int, images: int, seed: int = 0, workers: int | None = None
) -> dict[str, Any]:
    """Write a dataset of procedural faces to `out`; resumable. Returns its manifest.

    The faces are no people. They exist for demonstrations and tests; figures on them say nothing about real faces.
    """
    if identities < 2 or images < 2:
        raise VultusError(f"{identities} identities with {images} images: at least 2 of each are needed")
    plan = hashlib.sha256(json.dumps(["synth", identities, images, seed]).encode()).hexdigest()
    writer = CropWriter(out, plan)
    pieces = [range(start, min(start + PIECE, identities)) for start in range(0, identities, PIECE)]
    todo = [index for index in range(len(pieces)) if not writer.has(index)]
    done = in_processes(
        partial(_render_piece, images=images, seed=seed), [pieces[i] for i in todo], workers or os.cpu_count() or 1
    )
    for index, rows in zip(todo, track(done, "render faces", len(todo), "pieces"), strict=True):
        writer.add(index, rows)
    return writer.finish(len(pieces), (112, 112), {"procedural": True, "seed": seed, "images_per_identity": images})


def _render_piece(identities: range, *, images: int, seed: int) -> list[dict[str, Any]]:
    from vultus.data.synth import ProceduralFaces

    faces = ProceduralFaces(seed=seed)
    return [
        {
            "crop": encode_crop(faces.render(identity, sample)),
            "identity": f"face{identity:05d}",
            "source": f"face{identity:05d}/{sample:03d}",
            "box": [0.0, 0.0, 112.0, 112.0],
            "landmarks": [],
            "detection_score": 1.0,
        }
        for identity in identities
        for sample in range(images)
    ]
