"""Show decisions on the photograph they were made from."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vultus.gallery.decision import Decision, Kind

if TYPE_CHECKING:
    from vultus.gallery.searching import Identified

Box = tuple[float, float, float, float]

# Box colour and text colour, each pair with a contrast of at least 4.5:1 (WCAG 2.2 AA).
_COLORS = {
    Kind.MATCH: ((22, 128, 57), (255, 255, 255)),
    Kind.UNKNOWN: ((96, 96, 96), (255, 255, 255)),
    Kind.AMBIGUOUS: ((245, 170, 20), (0, 0, 0)),
    Kind.LOW_QUALITY: ((40, 90, 190), (255, 255, 255)),
}
_TEXT_SIZE = 0.022
"""Height of a label as a share of the picture's longer side, at least 11 pixels."""
_LONGEST_NAME = 28
_LONGEST_REASON = 60


def draw_decisions(image: np.ndarray, found: Sequence[Identified]) -> np.ndarray:
    """A copy of `image`, (H, W, 3) uint8 RGB, with a box and a label for each face.

    Green with name and score for a match, grey for unknown, amber with all names for ambiguous, blue with the reasons
    for a face too poor to search. Labels lie inside the picture, off the faces and off one another where there is room.
    """
    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(height, width) / 300))
    boxes = [_inside(item.face.box, width, height) for item in found]
    for item, box in zip(found, boxes, strict=True):
        draw.rectangle(box, outline=_COLORS[item.decision.kind][0], width=line)
    labels: list[Box] = []
    # From the top, so that a label has the faces beside it to avoid and the labels above it already placed.
    for place in sorted(range(len(found)), key=lambda index: boxes[index][1]):
        decision = found[place].decision
        color, ink = _COLORS[decision.kind]
        number = f"{place + 1}: " if len(found) > 1 else ""  # as in the table beside it
        text, font = _fitted(draw, number + _label(decision), max(11, round(max(height, width) * _TEXT_SIZE)), width)
        pad = max(2, line)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        size = (right - left + 2 * pad, bottom - top + 2 * pad)
        label = _place(boxes[place], size, (width, height), boxes, labels)
        labels.append(label)
        draw.rectangle(label, fill=color)
        draw.text((label[0] + pad - left, label[1] + pad - top), text, fill=ink, font=font)
    return np.asarray(picture)


def _label(decision: Decision) -> str:
    if decision.kind is Kind.LOW_QUALITY:
        return _short(decision.label, _LONGEST_REASON)
    if decision.kind is Kind.MATCH:
        return f"{_short(decision.label)} {decision.score:.2f}"
    return " or ".join(map(_short, decision.names)) or "unknown"


def _short(text: str, longest: int = _LONGEST_NAME) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _fitted(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> tuple[str, ImageFont.ImageFont]:
    """The text and a font with which it fits into the picture: smaller letters first, then fewer."""
    font = _font(size)
    while draw.textlength(text, font=font) > width - 8 and size > 9:
        size -= 1
        font = _font(size)
    while draw.textlength(text, font=font) > width - 8 and len(text) > 2:
        text = text[:-2] + "…"
    return text, font


def _place(face: Box, size: tuple[float, float], picture: tuple[int, int], faces: list[Box], labels: list[Box]) -> Box:
    """Above, below, right or left of the face: the first place that covers nothing, else the one that covers least."""
    width, height = size
    spots = [
        (face[0], face[1] - height),
        (face[0], face[3]),
        (face[2] - width, face[1] - height),
        (face[2] - width, face[3]),
        (face[2], face[1]),
        (face[0] - width, face[1]),
        (face[2], face[3] - height),
        (face[0] - width, face[3] - height),
        (face[0], face[1] - 2 * height),
        (face[0], face[3] + height),
    ]
    best: Box = (0, 0, width, height)
    least = float("inf")
    for left, top in spots:
        left = min(max(0.0, left), max(0, picture[0] - width - 1))
        top = min(max(0.0, top), max(0, picture[1] - height - 1))
        spot = (left, top, left + width, top + height)
        covered = sum(_overlap(spot, other) for other in (*faces, *labels))
        if covered < least:
            best, least = spot, covered
        if covered == 0:
            break
    return best


def _overlap(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, wide) * max(0.0, high)


def _inside(box: np.ndarray, width: int, height: int) -> Box:
    left, right = np.clip(np.sort(box[[0, 2]]), 0, width - 1)
    top, bottom = np.clip(np.sort(box[[1, 3]]), 0, height - 1)
    return float(left), float(top), float(right), float(bottom)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.ImageFont:
    """DejaVu Sans, which comes with matplotlib and knows most alphabets; without it Pillow's own font."""
    found = importlib.util.find_spec("matplotlib")  # looks, does not import
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.exists():
            return ImageFont.truetype(str(path), size)  # pyright: ignore[reportReturnType]
    return ImageFont.load_default(size)  # pyright: ignore[reportReturnType]
