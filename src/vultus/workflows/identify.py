"""Identify the faces of photographs, and draw the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vultus.errors import ImageError, VultusError

if TYPE_CHECKING:
    from vultus.gallery import Gallery, Identified


def identify_photographs(
    gallery: Gallery, images: Sequence[Path], *, fpir: float, draw: Path | None = None
) -> tuple[list[tuple[Path, list[Identified]]], list[tuple[Path, str]]]:
    """([(photograph, faces with decisions)], [(skipped photograph, reason)]); raises only where every one failed."""
    results, skipped = [], []
    for path in images:
        try:
            results.append((path, gallery.identify(path, fpir=fpir)))
        except ImageError as error:
            skipped.append((path, str(error)))
    if not results:
        raise VultusError(skipped[0][1] if len(skipped) == 1 else f"none of the {len(skipped)} photographs can be read")
    if draw is not None:
        draw_answer(results[0][0], results[0][1], draw)
    return results, skipped


def draw_answer(photograph: Path, found: Sequence[Identified], out: Path) -> None:
    """Write the photograph with boxes and names; the format follows the suffix of `out`."""
    from PIL import Image

    from vultus.faces import read_image
    from vultus.gallery import draw_decisions

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_decisions(read_image(photograph), found)).save(out)
    except (OSError, ValueError) as error:
        raise VultusError(f"cannot write {out}: {error}; give a path ending in .jpg or .png") from None
