"""One HTML file that shows what was measured: pictures inside, nothing fetched, readable in light, dark and print."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from vultus.files import save_atomically

Cell = str | int | float | None


@dataclass(frozen=True)
class Chapter:
    """Where a part of a long report begins; with chapters the contents list only them."""

    title: str
    lead: str = ""
    """A sentence or two that say what this part answers."""


@dataclass(frozen=True)
class Verdict:
    """One large answer in words, with what it rests on."""

    answer: Literal["PASS", "FAIL", "NOT ENOUGH EVIDENCE"]
    question: str
    body: str = ""
    title: str = ""


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text, separated by blank lines; a block whose lines start with "- " is a list."""

    body: str
    title: str = ""
    kind: Literal["text", "note"] = "text"
    """A note stands in a box: a limit that the reader must not miss."""

    @property
    def blocks(self) -> list[tuple[bool, list[str]]]:
        """(is a list, lines or one paragraph)."""
        parts = [part.strip() for part in re.split(r"\n\s*\n", self.body) if part.strip()]
        listed = [all(line.lstrip().startswith("- ") for line in part.splitlines()) for part in parts]
        return [
            (is_list, [line.lstrip()[2:] for line in part.splitlines()] if is_list else [part])
            for is_list, part in zip(listed, parts, strict=True)
        ]


@dataclass(frozen=True)
class Facts:
    """Large figures side by side: (value, what it is, a quieter line)."""

    items: Sequence[tuple[str, str, str]]
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Cells as given (format numbers before); None shows as a dash. The first column is left-aligned."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A PNG or JPEG with a caption in words that say what to see."""

    image: bytes
    caption: str = ""
    title: str = ""


@dataclass(frozen=True)
class Gallery:
    """Small pictures (crops) with a line each."""

    items: Sequence[tuple[bytes, str]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Pair:
    left: bytes | None
    right: bytes | None
    left_name: str
    right_name: str
    score: float


@dataclass(frozen=True)
class PairGallery:
    """Two crops side by side, with names and score."""

    pairs: Sequence[Pair]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Decision:
    """What a search answered for one probe. `right`: whether that was correct, None when nobody knows."""

    probe: bytes | None
    probe_name: str
    decision: Literal["match", "unknown", "ambiguous", "low_quality"]
    score: float
    """Score of the best candidate."""
    threshold: float
    candidate: bytes | None = None
    candidate_name: str = ""
    right: bool | None = None


@dataclass(frozen=True)
class Decisions:
    """Probe, decision, best candidate, and the score against the threshold."""

    items: Sequence[Decision]
    title: str = ""
    note: str = ""


Section = Chapter | Verdict | Text | Facts | Table | Figure | Gallery | PairGallery | Decisions


@dataclass(frozen=True)
class _Entry:
    """A section as the template sees it."""

    kind: str
    section: Section
    anchor: str
    contents: list[tuple[str, str]] = field(default_factory=list)


def write_report(
    path: str | Path, title: str, sections: Sequence[Section], *, subtitle: str = "", footer: str = ""
) -> Path:
    """Write a self-contained HTML file (images as data URIs, no external resources) and return its path.

    All text is escaped. The file appears whole or not at all.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vultus.evaluation.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(data_uri=data_uri, position=_position)
    chapters = any(isinstance(section, Chapter) for section in sections)
    entries = [
        _Entry(type(section).__name__, section, f"s{index}" if section.title else "")
        for index, section in enumerate(sections, start=1)
    ]
    html = environment.get_template("page.html.j2").render(
        title=title,
        subtitle=subtitle,
        entries=entries,
        contents=[e for e in entries if e.anchor and (e.kind == "Chapter" or not chapters)],
        heading="h3" if chapters else "h2",
        footer=footer or f"Written by vultus on {datetime.now(UTC):%d %B %Y, %H:%M} UTC.",
    )
    save_atomically(html.encode(), path)
    return Path(path)


def data_uri(image: bytes) -> str:
    """`image` (PNG, JPEG, WebP or GIF by its first bytes) as a data URI; ValueError for anything else."""
    kinds = ((b"\x89PNG\r\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"RIFF", "webp"), (b"GIF8", "gif"))
    for start, kind in kinds:
        if image.startswith(start):
            return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
    raise ValueError(f"an image in a report must be PNG, JPEG, WebP or GIF, not bytes that start with {image[:6]!r}")


def _position(score: float) -> str:
    """Where a score stands on a bar from 0 to 1, as a CSS percentage."""
    return f"{100 * min(1.0, max(0.0, score)):.1f}%"
