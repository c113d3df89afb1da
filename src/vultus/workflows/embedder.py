"""Whatever turns crops into embeddings, behind one call: a training run, a recogniser by name, an .onnx file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vultus.data import FaceDataset, Seen
from vultus.evaluation import Calibration
from vultus.terminal import track

if TYPE_CHECKING:
    from vultus.recognizer import Recognizer

BATCH = 64


@dataclass(frozen=True)
class Embedder:
    """`embed` takes crops (N, 112, 112, 3) uint8 RGB and gives unit rows (N, D) float32."""

    name: str
    embed: Callable[[np.ndarray], np.ndarray]
    contract_id: str | None = None
    seen: Seen | None = None
    """Whom it was trained on, where that is known."""
    run: Path | None = None
    calibration: Calibration | None = None
    """The thresholds by error rate that its file holds."""
    raw: Callable[[np.ndarray], np.ndarray] | None = None
    """Crops to embeddings as the network gives them, neither of unit length nor mirrored."""
    flips: bool = False
    """Whether `embed` adds the mirror image."""

    def dataset(self, data: FaceDataset) -> np.ndarray:
        """Embeddings of a whole view, (len(data), D), in its order, under a progress bar."""
        starts = range(0, len(data), BATCH)
        parts = [
            self.embed(data.crops(range(s, min(s + BATCH, len(data))))) for s in track(starts, f"embed {data.title}")
        ]
        return np.concatenate(parts)


def open_embedder(model: str | Path, models_dir: str | None = None) -> Embedder:
    """Open a run directory, a name of `vultus models list`, or an .onnx file."""
    path = Path(model)
    if (path / "run.json").is_file():
        from vultus.models.crops import embed_crops
        from vultus.training import open_run
        from vultus.training.run import load_model

        run = open_run(path)
        network, which = load_model(run)
        return Embedder(
            name=f"{path} ({which}.pt)",
            embed=lambda crops: embed_crops(network, crops),
            seen=run.seen,
            run=path,
        )
    from vultus.recognizer import load_recognizer

    return of_recognizer(load_recognizer(model, models_dir))


def of_recognizer(recognizer: Recognizer) -> Embedder:
    """A recogniser that is open already."""
    return Embedder(
        name=recognizer.name,
        embed=recognizer.embed,
        contract_id=recognizer.contract.id,
        seen=Seen.from_dict(recognizer.card.provenance.get("seen")),
        calibration=recognizer.calibration,
        raw=recognizer.embed_raw,
        flips=recognizer.contract.flip,
    )
