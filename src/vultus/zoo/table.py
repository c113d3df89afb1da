"""The known model files by name: name, address, digest, licence, contract, figures. One entry a file."""

from __future__ import annotations

import difflib

from vultus.errors import VultusError
from vultus.zoo.entry import ModelFile
from vultus.zoo.table_detectors import DETECTORS
from vultus.zoo.table_recognizers import RECOGNIZERS

__all__ = ["ZOO", "ModelFile", "model_file"]

ZOO: dict[str, ModelFile] = {entry.name: entry for entry in (*DETECTORS, *RECOGNIZERS)}


def model_file(name: str, kind: str | None = None) -> ModelFile:
    """The entry called `name`; raises `VultusError` with the nearest names otherwise."""
    entry = ZOO.get(name.lower())
    names = [n for n, e in ZOO.items() if kind in (None, e.kind)]
    if entry is None or entry.name not in names:
        near = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        raise VultusError(f"no {kind or 'model'} is called {name!r}; {hint} (or give the path of an .onnx file)")
    return entry
