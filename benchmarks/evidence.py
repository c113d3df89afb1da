"""The whole report of three published recognisers on LFW's public half, beside what their collection states.

    uv run python benchmarks/evidence.py --data DATA --weights WEIGHTS --out FOLDER [--images docs/images]

DATA is LFW's public half, built with the float32 detector: `vultus data build FACES --out DATA --detector yunet-n`.
At most 10 images an identity, as the stated figures have it. --images draws the figures of docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from vultus.evaluation import figures
from vultus.evaluation.figures.identification import fpir_by_gallery
from vultus.evaluation.intervals import Interval
from vultus.terminal import table
from vultus.workflows import Evaluation, evaluate

STATED = {  # all pairs: AUC; TAR in % at FAR 1e-2, 1e-3, 1e-4, 1e-5; the threshold at 1e-3
    "sface/sface_2021dec_int8bq_clean.onnx": (0.99940, 99.54, 98.78, 97.48, 94.51, 0.365),
    "edgeface/edgeface_xs_dequant_fp32.pt": (0.99959, 99.66, 99.18, 98.14, 95.88, 0.259),
    "mobilefacenet_112x112/mobilefacenet.onnx": (0.99904, 98.93, 97.65, 94.62, 90.31, 0.333),
}
FARS = (1e-2, 1e-3, 1e-4, 1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=Path)
    arguments = parser.parse_args()

    found: dict[str, Evaluation] = {}
    for file in STATED:
        name = file.split("/")[0]
        began = time.monotonic()
        result = evaluate(
            arguments.weights / file, arguments.data, out=arguments.out / name, max_per_identity=10, profile="forensics"
        )
        assert isinstance(result, Evaluation)
        found[file] = result
        print(f"{name}: {time.monotonic() - began:.0f} s, {result.report}")
    table(
        "All pairs: measured (stated)",
        ("", "AUC", *(f"TAR at {far:g}, %" for far in FARS), "threshold at 0.001"),
        [beside(file, result) for file, result in found.items()],
    )
    table(
        "With their 95 % intervals, and searches of the largest gallery",
        ("", "TAR at 1e-4", "TAR at 1e-5", "enrolled", "rank 1", "TPIR at FPIR 1 %", "good enough for forensics"),
        [summary(file, result) for file, result in found.items()],
    )
    if arguments.images:
        draw(arguments.images, found)
    arguments.out.joinpath("evidence.json").write_text(
        json.dumps({file: {"stated": STATED[file], **points(result)} for file, result in found.items()}, indent=1)
        + "\n"
    )


def beside(file: str, result: Evaluation) -> tuple[str, ...]:
    v, (auc, *tars, threshold) = result.verification, STATED[file]
    rates = [f"{100 * (v.point(far).tar or 0):.2f} ({stated:.2f})" for far, stated in zip(FARS, tars, strict=True)]
    return (file.split("/")[0], f"{v.auc:.5f} ({auc:.5f})", *rates, f"{v.point(1e-3).threshold:.3f} ({threshold:.3f})")


def summary(file: str, result: Evaluation) -> tuple[str, ...]:
    v, evidence = result.verification, result.evidence
    assert evidence is not None and evidence.identification is not None and result.judgement is not None
    largest = evidence.identification.sizes[-1]
    search = largest.point(1e-2)
    return (
        file.split("/")[0],
        *(between(v.point(far).tar, v.point(far).tar_interval) for far in (1e-4, 1e-5)),
        f"{largest.people:,}",
        f"{largest.rank_one:.2%}",
        between(search.tpir, search.tpir_interval),
        result.judgement.answer,
    )


def between(rate: float | None, interval: Interval | None) -> str:
    return "withheld" if rate is None or interval is None else f"{rate:.2%} ({interval[0]:.2%} to {interval[1]:.2%})"


def points(result: Evaluation) -> dict:
    return {"auc": result.verification.auc, "points": [point.to_dict() for point in result.verification.points]}


def draw(folder: Path, found: dict[str, Evaluation]) -> None:
    names = {"sface": "SFace", "edgeface": "EdgeFace-XS", "mobilefacenet_112x112": "MobileFaceNet"}
    named = {names[file.split("/")[0]]: result.verification for file, result in found.items()}
    (folder / "evidence_det.png").write_bytes(figures.det(named))
    evidence = next(iter(found.values())).evidence
    assert evidence is not None and evidence.growth is not None
    (folder / "evidence_growth.png").write_bytes(fpir_by_gallery(evidence.growth))


if __name__ == "__main__":
    main()
