"""Find the photographs in a folder."""

from __future__ import annotations

from pathlib import Path

from vultus.faces.image import IMAGE_SUFFIXES


def find_photographs(folder: Path) -> list[Path]:
    """Files below `folder` that look like photographs by their suffix, hidden ones left out, in sorted order."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
