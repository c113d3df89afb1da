"""The zoo's table for people: one line a file, or everything that is known of one."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from vultus.errors import VultusError
from vultus.zoo import ModelFile, NotHere, commercial_use, find_file, models_home

KINDS = {"detector": "detectors", "recognizer": "recognisers"}
LEFT = 18
"""Columns of the first column."""


def in_short(entries: Sequence[ModelFile], models_dir: str | None) -> list[str]:
    """A line a file, at most 100 columns wide, under a heading for each kind."""
    lines = []
    for kind, heading in KINDS.items():
        if of_kind := [entry for entry in entries if entry.kind == kind]:
            lines += ["", f"{heading:<{LEFT}}{'commercial use':<16}{'size':>9}  {'holds':<10}place"]
            lines += [_line(entry, models_dir) for entry in of_kind]
    return lines[1:]


def _line(entry: ModelFile, models_dir: str | None) -> str:
    holds = "network" if entry.runnable else "weights"
    place = _place(entry, models_dir)[0]
    if entry.sha256 is None:
        place += "; digest not published"
    return f"{entry.name:<{LEFT}}{commercial_use(entry):<16}{_size(entry):>9}  {holds:<10}{place}"


def in_full(entry: ModelFile, models_dir: str | None) -> list[str]:
    """Everything that the table says of one file, wrapped to the terminal, at most 100 columns."""
    short, path = _place(entry, models_dir)
    here = str(path) if path else f"{short}; `vultus models fetch {entry.name}`"
    digest = entry.sha256 or "not published: that of the first download is noted beside it and checked from then on"
    inside = f", member {entry.archive_member}" if entry.archive_member else ""
    what = "network" if entry.runnable else "weights"
    facts = {
        "licence": entry.licence,
        "commercial use": commercial_use(entry),
        "place": here,
        "file": f"{entry.file} ({_size(entry).strip() or 'size unknown'})",
        "address": f"{entry.url}{inside} ({_tried(entry)})",
        "sha256": digest,
        "architecture": entry.architecture or "",
        "published": _figures(entry.published),
        "measured by us": _figures(entry.measured),
    }
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    lines = [f"{entry.name}: {entry.kind}, {what}", *textwrap.wrap(entry.about, width, initial_indent="  ")]
    for name, text in facts.items():
        if text:
            indent = " " * LEFT
            lines += textwrap.wrap(
                text,
                width,
                initial_indent=f"  {name:<{LEFT - 2}}",
                subsequent_indent=indent,
                break_on_hyphens=False,
                break_long_words=False,
            )
    return lines


def licence_lines(entry: ModelFile) -> list[str]:
    """What somebody should read before the file is fetched."""
    use = {"allowed": "is allowed", "forbidden": "is FORBIDDEN", "unclear": "is unclear: ask before you sell anything"}
    return [f"{entry.name}: {entry.about}", f"licence: {entry.licence}", f"commercial use {use[commercial_use(entry)]}"]


def _place(entry: ModelFile, models_dir: str | None) -> tuple[str, Path | None]:
    """(in few words, the path where it is there)."""
    try:
        path = find_file(entry, models_dir, download=False)
    except NotHere:
        return "not here", None
    except VultusError as error:
        return f"unusable: {error}", None
    if path.parent == models_home():
        return "cache", path
    if entry.package and entry.package[0] in path.parts:
        return f"package {entry.package[0]}", path
    return "models folder", path


def _tried(entry: ModelFile) -> str:
    if entry.fetched and entry.package:
        return f"never fetched by us; the file came with the package {entry.package[0]}"
    return "fetched by us" if entry.fetched else "never fetched by us"


def _size(entry: ModelFile) -> str:
    return f"{entry.size / 1e6:.1f} MB" if entry.size else ""


def _figures(figures: dict[str, float | str]) -> str:
    numbers = ", ".join(f"{name} {value:.2f} %" for name, value in figures.items() if isinstance(value, float))
    return f"{numbers} ({figures['by']})" if figures else ""
