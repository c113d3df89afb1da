"""Identify the faces of photographs, and draw the answer."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import ImageError, VultusError
from vultus.files import writing

if TYPE_CHECKING:
    from vultus.gallery import Gallery, Identified

FORMATS = (".jpg", ".jpeg", ".png", ".webp")


def identify_photographs(
    gallery: Gallery,
    images: Sequence[Path],
    *,
    fpir: float,
    draw: Path | None = None,
    where: Mapping[str, Any] | None = None,
    k: int = 5,
    at_least: int | None = None,
) -> tuple[list[tuple[Path, list[Identified]]], list[tuple[Path, str]]]:
    """([(photograph, faces with decisions)], [(skipped photograph, reason)]); raises only where every one failed."""
    if draw is None:
        return _identified(gallery, images, fpir=fpir, where=where, k=k, at_least=at_least)
    if draw.suffix.lower() not in FORMATS:
        raise VultusError(f"cannot write {draw}: give a path that ends in {', '.join(FORMATS)}")
    with writing(draw, mode=0o600) as file:  # opened before a search that the audit log would show; it holds names
        results, skipped = _identified(gallery, images, fpir=fpir, where=where, k=k, at_least=at_least)
        file.write(drawn(*results[0], draw.suffix))
    return results, skipped


def _identified(
    gallery: Gallery, images: Sequence[Path], **options: Any
) -> tuple[list[tuple[Path, list[Identified]]], list[tuple[Path, str]]]:
    results, skipped = [], []
    for path in images:
        try:
            results.append((path, gallery.identify(path, **options)))
        except ImageError as error:
            skipped.append((path, str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")))
    if not results:
        path, reason = skipped[0]
        why = f"{path} {reason}"
        raise VultusError(why if len(skipped) == 1 else f"none of the {len(skipped)} photographs can be read: {why}")
    return results, skipped


def drawn(photograph: Path, found: Sequence[Identified], suffix: str) -> bytes:
    """The photograph with boxes and names, in the format of `suffix`, for example ".png"."""
    from PIL import Image

    from vultus.faces import read_image
    from vultus.gallery import draw_decisions

    content = io.BytesIO()
    picture = Image.fromarray(draw_decisions(read_image(photograph), found))
    picture.save(content, Image.registered_extensions()[suffix.lower()])
    return content.getvalue()
