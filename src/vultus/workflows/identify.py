"""Identify the faces of photographs, and draw the answer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import ImageError, VultusError

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
    if draw is not None and draw.suffix.lower() not in FORMATS:  # before a search that the audit log would show
        raise VultusError(f"cannot write {draw}: give a path that ends in {', '.join(FORMATS)}")
    results, skipped = [], []
    for path in images:
        try:
            results.append((path, gallery.identify(path, fpir=fpir, where=where, k=k, at_least=at_least)))
        except ImageError as error:
            skipped.append((path, str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")))
    if not results:
        path, reason = skipped[0]
        why = f"{path} {reason}"
        raise VultusError(why if len(skipped) == 1 else f"none of the {len(skipped)} photographs can be read: {why}")
    if draw is not None:
        draw_answer(results[0][0], results[0][1], draw)
    return results, skipped


def draw_answer(photograph: Path, found: Sequence[Identified], out: Path) -> None:
    """Write the photograph with boxes and names, mode 0600; the format follows the suffix of `out`."""
    from PIL import Image

    from vultus.faces import read_image
    from vultus.gallery import draw_decisions

    picture = Image.fromarray(draw_decisions(read_image(photograph), found))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.stem[:100]}.", suffix=out.suffix)
        os.close(handle)  # mode 0600, as it holds names
        try:
            picture.save(temporary)
            os.replace(temporary, out)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise VultusError(f"cannot write {out}: {error}; give a path ending in .jpg or .png") from None
