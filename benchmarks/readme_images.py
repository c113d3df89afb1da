"""Make the README's pictures and figures of the demo anew.

    uv run python benchmarks/readme_images.py [--demo runs/demo]

Runs `vultus demo` into a folder that is not there yet (about five minutes), or takes a finished one; then writes
docs/images/faces.jpg, scores.png and roc.png, the figures and the digests of the pictures to docs/images/demo.json,
and the README's line about the demo. tests/test_readme_demo.py holds README, pictures and figures together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vultus.data import FaceDataset
from vultus.data.synth import contact_sheet
from vultus.evaluation import figures
from vultus.workflows import Evaluation, evaluate
from vultus.workflows.baselines import baselines
from vultus.workflows.demo import run_demo

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images"
PICTURES = ("faces.jpg", "scores.png", "roc.png")
LINE = re.compile(r"^\| procedural faces of people never trained on, after the demo \|.*$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--demo", type=Path, default=Path("runs/demo"), help="folder of a finished demo, or to make one"
    )
    folder = parser.parse_args().demo
    if not (folder / "report.html").is_file():
        run_demo(folder, minutes=4, photos=None, seed=0)
    draw(folder)
    measured = summary(json.loads((folder / "figures.json").read_text()))
    measured["pictures"] = {name: hashlib.sha256((OUT / name).read_bytes()).hexdigest() for name in PICTURES}
    (OUT / "demo.json").write_text(json.dumps(measured, indent=1) + "\n")
    readme = ROOT / "README.md"
    readme.write_text(LINE.sub(lambda _: line(measured), readme.read_text()))


def draw(folder: Path) -> None:
    """The three pictures."""
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


def summary(measured: dict[str, Any]) -> dict[str, Any]:
    """What the README's line needs of the demo's figures.json."""
    points = {
        name: next(point for point in found["points"] if point["far"] == 1e-2)
        for name, found in measured["verification"].items()
    }
    tars = {name: {"tar": point["tar"], "interval": point["tar_interval"]} for name, point in points.items()}
    return {"tar": tars, "searches": measured["searches"], "seconds": sum(measured["seconds"].values())}


def line(measured: dict[str, Any]) -> str:
    """The row of the README's table."""
    (_, trained), *others = measured["tar"].items()
    low, high = (100 * end for end in trained["interval"])
    beside = "; ".join(f"{name} {100 * found['tar']:.1f} %" for name, found in others)
    known, strangers = (f"{s['right']} of {s['made']}" for s in measured["searches"].values())
    minutes, seconds = divmod(round(measured["seconds"]), 60)
    return (
        "| procedural faces of people never trained on, after the demo | "
        f"TAR {100 * trained['tar']:.1f} % ({low:.1f} to {high:.1f}) at FAR 1e-2; {beside}; {known} searches for "
        f"enrolled people and {strangers} for strangers right; {minutes} min {seconds} s | "
        "`benchmarks/readme_images.py` |"
    )


if __name__ == "__main__":
    main()
