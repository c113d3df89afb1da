"""From a photograph to what is enrolled or looked up: one face, its quality, its embedding."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from vultus.errors import ImageError, VultusError
from vultus.faces import Face
from vultus.faces.face import Select
from vultus.faces.quality import Gate, Quality, Reason, measure_quality
from vultus.gallery.reference import Embedder
from vultus.gallery.store import Sample

Image = str | Path | bytes | np.ndarray
"""A path, an encoded file, or (H, W, 3) uint8 RGB."""


@dataclass(frozen=True, eq=False)
class Shot:
    """The face that is meant in one photograph."""

    image: str
    """What the photograph is called in messages."""
    face: Face
    quality: Quality | None
    """None for a face without a crop to measure."""


@dataclass(frozen=True)
class Skipped:
    """A photograph that was not enrolled, and why."""

    image: str
    reason: str
    codes: tuple[str, ...] = ()
    """The error's code; where it was refused for its quality, what failed, in the words of ISO/IEC 29794-5."""


class BadQuality(ImageError):
    """A photograph that a quality gate refuses. Code: low_quality; fields: path, reason, and codes, what failed."""

    def __init__(self, image: str, reasons: Sequence[Reason]) -> None:
        reason = "; ".join(map(str, reasons))
        codes = [one.code.value for one in reasons]
        super().__init__(f"{image}: {reason}", code="low_quality", path=image, reason=reason, codes=codes)


def skipped(error: VultusError, image: Image, number: int) -> Skipped:
    """The error as a line of a list."""
    reason, codes = error.fields.get("reason", error), error.fields.get("codes", (error.code,))
    return Skipped(image_name(image, number), str(reason), tuple(codes))


def one_face(recognizer: Embedder, image: Image, number: int, select: str | None) -> Shot:
    """The one face of a photograph; with `select`, "largest" or "center", that one of several.

    Raises VultusError where the photograph cannot be read or does not show one face.
    """
    if select not in (None, "largest", "center"):
        raise VultusError(f"unknown selection {select!r}; choose largest or center")
    where = image_name(image, number)
    # Only the one that is meant needs to be alone: a passer-by behind it is told by the gate, if at all.
    faces = recognizer.faces(image, cast(Select, select or "all"))
    if not faces:
        reason = "no face found; use a clearer photograph"
        raise ImageError(f"{where}: {reason}", code="no_face", path=where, reason=reason)
    if len(faces) > 1:
        reason = f"{len(faces)} faces found where one is needed; crop the photograph, or select the largest or the one "
        reason += "at the center"
        raise ImageError(f"{where}: {reason}", code="several_faces", path=where, reason=reason)
    return Shot(where, faces[0], quality_of(faces[0]))


def shoot(
    recognizer: Embedder, images: Sequence[Image], select: str | None, gate: Gate | None, skip_bad: bool
) -> tuple[list[Shot], list[Skipped]]:
    """The faces of photographs of one person; the bad ones listed, or raised unless they may be skipped."""
    shots: list[Shot] = []
    given_up: list[Skipped] = []
    for number, image in enumerate(images, 1):
        try:
            shot = one_face(recognizer, image, number, select)
            bad = faults(shot.quality, gate)
            if bad:
                raise BadQuality(shot.image, bad)
        except VultusError as error:
            if not skip_bad:
                raise
            given_up.append(skipped(error, image, number))
        else:
            shots.append(shot)
    return shots, given_up


def quality_of(face: Face, others: Sequence[Face] = ()) -> Quality | None:
    return None if face.crop is None else measure_quality(face, others)


def qualities(faces: Sequence[Face]) -> list[Quality | None]:
    """Of every face of one photograph."""
    return [quality_of(face, [other for other in faces if other is not face]) for face in faces]


def faults(quality: Quality | None, gate: Gate | None) -> tuple[Reason, ...]:
    """Why a gate refuses a photograph; nothing where there is no gate or nothing was measured."""
    return () if quality is None or gate is None else gate.reasons(quality)


def sample_of(shot: Shot, row: np.ndarray, keep_crop: bool) -> Sample:
    """What is stored of a photograph. Its path is not: it often holds a name."""
    face = shot.face
    return Sample(
        embedding=row,
        source=None if face.crop is None else np.ascontiguousarray(face.crop).tobytes(),
        crop_png=png(face.crop) if keep_crop and face.crop is not None else None,
        box=[float(value) for value in face.box],
        quality=None if shot.quality is None else shot.quality.to_dict(),
        provenance={"from": "photograph", "detection_score": round(float(face.score), 4)},
    )


def png(crop: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB without loss."""
    from PIL import Image as Picture

    out = io.BytesIO()
    Picture.fromarray(crop).save(out, "PNG")
    return out.getvalue()


def image_name(image: Image, number: int) -> str:
    return str(image) if isinstance(image, str | Path) else f"image {number}"
