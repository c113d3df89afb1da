"""A view in an encrypted file, for a quick start. Whatever is wrong with it, the caller builds the index anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.gallery.index.codes import Codes
from vultus.gallery.index.part import Part
from vultus.gallery.index.view import View

FORMAT = 1


class SnapshotError(VultusError):
    """A snapshot that is missing, damaged, of another key, or of something else."""


def save(view: View, path: Path, key: bytes, about: dict[str, Any]) -> None:
    """Write a view, encrypted with `key` (32 bytes), whole or not at all, mode 0600.

    `about`: what the file belongs to (collection, contract, …), as JSON can hold it; it is authenticated, not secret.
    Raises SnapshotError where it cannot be written.
    """
    from vultus.gallery.protection.sealed_file import SealedFileError, write_sealed

    arrays: list[np.ndarray] = []
    for part in view.parts:
        codes = part.codes.to_array() if part.codes else np.empty(0, np.uint8)
        arrays += [part.rows, part.template_ids, part.person_ids, codes]
    slacks = [part.codes.slack if part.codes else None for part in view.parts]
    header = {"format": FORMAT, "position": view.position, "dim": view.dim, "slacks": slacks, "about": about}
    try:
        write_sealed(path, key, header, arrays)
    except SealedFileError as error:
        raise SnapshotError(str(error)) from None


def load(path: Path, key: bytes, about: dict[str, Any]) -> View:
    """The view that `save` wrote; SnapshotError unless every byte, the key and `about` are the same."""
    from vultus.gallery.protection.sealed_file import SealedFileError, read_sealed

    try:
        header, arrays = read_sealed(path, key)
    except SealedFileError as error:
        raise SnapshotError(str(error)) from None
    if header.get("format") != FORMAT or header.get("about") != about:
        raise SnapshotError(f"{path} is a snapshot of something else; the index must be built anew")
    try:
        slacks, dim = header["slacks"], int(header["dim"])
        if len(arrays) != 4 * len(slacks):
            raise ValueError("parts are missing")
        parts = []
        for at, slack in enumerate(slacks):
            rows, template_ids, person_ids, content = arrays[4 * at : 4 * at + 4]
            if rows.shape != (len(template_ids), dim) or len(person_ids) != len(template_ids):
                raise ValueError("rows and ids do not match")
            codes = None if slack is None else Codes.from_array(content, len(rows), float(slack))
            parts.append(Part(rows, template_ids, person_ids, codes))
        return View(int(header["position"]), dim, parts)
    except (ValueError, TypeError, KeyError) as error:
        raise SnapshotError(f"{path} does not fit this release ({error}); the index must be built anew") from None
