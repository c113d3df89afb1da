"""Identify the faces of photographs, and draw the answer."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import ImageError, VultusError
from vultus.files import refuse_same, writing

if TYPE_CHECKING:
    from vultus.gallery import Gallery, Identified

FORMATS = (".jpg", ".jpeg", ".png", ".webp")


def identify_photographs(
    gallery: Gallery,
    images: Sequence[Path],
    *,
    fpir: float | None,
    draw: Path | None = None,
    where: Mapping[str, Any] | None = None,
    k: int = 5,
    at_least: int | None = None,
) -> tuple[list[tuple[Path, list[Identified]]], list[tuple[Path, str]]]:
    """([(photograph, faces with decisions, from left to right)], [(skipped photograph, reason)]).

    Raises only where every one failed.
    """
    if draw is None:
        return _identified(gallery, images, fpir=fpir, where=where, k=k, at_least=at_least)
    if draw.suffix.lower() not in FORMATS:
        raise VultusError(f"cannot write {draw}: give a path that ends in {', '.join(FORMATS)}")
    refuse_same(draw, *images, gallery.label)
    with writing(draw, mode=0o600) as file:  # opened before a search that the audit log would show; it holds names
        results, skipped = _identified(gallery, images, fpir=fpir, where=where, k=k, at_least=at_least)
        file.write(drawn(*results[0], draw.suffix))
    return results, skipped


def _identified(
    gallery: Gallery, images: Sequence[Path], **options: Any
) -> tuple[list[tuple[Path, list[Identified]]], list[tuple[Path, str]]]:
    results, skipped, first = [], [], None
    for path in images:
        try:
            found = gallery.identify(path, **options)
            results.append((path, sorted(found, key=lambda item: float(item.face.box[0]))))  # as they are read
        except ImageError as error:
            skipped.append((path, str(error.fields.get("reason", error))))
            first = first or error
    if not results:
        if first is not None and len(skipped) == 1:
            raise first
        raise ImageError(f"none of the {len(skipped)} photographs can be read: {first}", code="unreadable")
    return results, skipped


def drawn(photograph: Path, found: Sequence[Identified], suffix: str) -> bytes:
    """The photograph with boxes and names, in the format of `suffix`, for example ".png"."""
    from PIL import Image

    from vultus.faces.image import read_reduced
    from vultus.gallery import draw_decisions

    pixels, smaller = read_reduced(photograph)
    seen = [replace(item, face=replace(item.face, box=item.face.box / smaller)) for item in found]
    content = io.BytesIO()
    Image.fromarray(draw_decisions(pixels, seen)).save(content, Image.registered_extensions()[suffix.lower()])
    return content.getvalue()
