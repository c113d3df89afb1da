"""Which recogniser a gallery speaks: what it needs of one, and how to find it again from the stored reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation import Calibration
from vultus.evaluation.calibration import CropOrigin
from vultus.faces import Face
from vultus.faces.face import Select

if TYPE_CHECKING:
    from vultus.zoo import Contract


class Embedder(Protocol):
    """What a gallery asks of a `vultus.recognizer.Recognizer`."""

    @property
    def name(self) -> str: ...

    @property
    def contract(self) -> Contract: ...

    @property
    def calibration(self) -> Calibration | None: ...

    @property
    def crops(self) -> CropOrigin | None:
        """How `faces` makes crops; None where that cannot be said."""
        ...

    def faces(self, image: str | Path | bytes | np.ndarray, select: Select = "all") -> list[Face]: ...

    def embed(self, faces: Sequence[Face]) -> np.ndarray: ...


def reference_of(model: str | Path | Embedder) -> str:
    """What to store: a name of the zoo as it is, a file by its absolute path, a loaded recogniser by its name."""
    if isinstance(model, str | Path):
        return os.path.abspath(model) if _is_file_name(model) else str(model)
    return model.name


def load_stored(reference: str, models_dir: str | Path | None, gallery: Path) -> Embedder:
    """Load the recogniser that `gallery` was made with; a file that moved along with the gallery is found beside it.

    The caller compares contracts, so that a wrong file cannot be taken.
    """
    from vultus.recognizer import load_recognizer

    if _is_file_name(reference) and not os.path.exists(reference):
        beside = gallery.parent / Path(reference).name
        if beside.exists():
            reference = str(beside)
    try:
        return load_recognizer(reference, models_dir)
    except VultusError as error:
        raise type(error)(f"{error} (the model that gallery {gallery} was made with; say where it is now)") from None


def _is_file_name(model: str | Path) -> bool:
    return Path(model).suffix.lower() == ".onnx"
