"""Make the pictures of the README from a finished demo: `uv run python benchmarks/readme_images.py runs/demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from vultus.data import FaceDataset
from vultus.data.synth import contact_sheet
from vultus.evaluation import figures
from vultus.workflows import Evaluation, evaluate
from vultus.workflows.baselines import baselines

OUT = Path(__file__).parents[1] / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    folder = parser.parse_args().demo
    OUT.mkdir(parents=True, exist_ok=True)
    people, test = (FaceDataset.open(folder / "data" / split) for split in ("people", "test"))
    rows = [np.flatnonzero(people.labels == label)[:10] for label in range(6)]
    sheet = contact_sheet(list(people.crops(np.concatenate(rows))), 10)
    cv2.imwrite(str(OUT / "faces.jpg"), np.ascontiguousarray(sheet[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 85])
    evaluation = evaluate(folder / "run", folder / "data" / "test")
    assert isinstance(evaluation, Evaluation)
    (OUT / "scores.png").write_bytes(figures.score_histogram(evaluation.verification, [1e-2, 1e-3, 1e-4]))
    others = baselines(folder / "run", FaceDataset.open(folder / "data" / "train"), test)
    (OUT / "roc.png").write_bytes(figures.roc({"trained network": evaluation.verification, **others}))


if __name__ == "__main__":
    main()
