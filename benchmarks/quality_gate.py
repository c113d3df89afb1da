"""What the quality gates refuse, and whether it is worth it: clean photographs, degraded ones, errors with and without.

    uv run python benchmarks/quality_gate.py --data PHOTOGRAPHS [--model sface] [--models DIR] [--images 1200]
        [--degraded 150] [--second-detector scrfd.onnx] [--sheets FOLDER] [--out quality_gate.json]

PHOTOGRAPHS holds a folder an identity, as `vultus data build` takes it; the face nearest the centre is the named one.
Of the identities with two or more photographs at most five photographs each are drawn, --images in all, then single
ones. Printed:

1. clean photographs: the share that each limit refuses, by the enrolment gate and the probe gate;
2. the same photographs degraded (blur, motion, light, size, tilt, noise): faces lost, refused by each gate, and the
   FNMR at FMR 1e-3 of the degraded against the untouched photographs of the same person: of all, and of those kept;
3. clean pairs: FNMR at FMR 1e-3 of all and of those of which a gate keeps both pictures, and the FNMR that is left
   where the worst 5 % and 20 % by each measure are discarded (ISO/IEC 29794-1, error versus discard);
4. the pose: roll measured of photographs turned by a known angle; with --second-detector, yaw and pitch against those
   of the other detector's landmarks (slope, correlation, spread of the difference).

--sheets draws the refused and the barely accepted crops, to be looked at. The photographs of 2 are drawn anew by
--seed; the threshold is the one that 1 in 1,000 non-mated pairs of the clean photographs reach.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import vultus
from vultus.data.build import read_listing
from vultus.evaluation.breakdown.discard import edc
from vultus.evaluation.breakdown.outcomes import Outcomes, decide
from vultus.faces import Face, align, load_detector, read_image, select_faces
from vultus.faces.quality import ENROL_GATE, PROBE_GATE, Quality, ReasonCode, measure_quality
from vultus.terminal import table, track

FMR = 1e-3
GATES = {"enrol": ENROL_GATE, "probe": PROBE_GATE}
LESS_IS_BETTER = {
    ReasonCode.UNDER_EXPOSURE,
    ReasonCode.OVER_EXPOSURE,
    ReasonCode.POSE_YAW,
    ReasonCode.POSE_PITCH,
    ReasonCode.POSE_ROLL,
    ReasonCode.OTHER_FACE,
}


@dataclass(frozen=True, eq=False)
class Picture:
    identity: int
    image: np.ndarray
    face: Face
    quality: Quality
    path: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="sface")
    parser.add_argument("--models", help="folder with model files")
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--degraded", type=int, default=150, help="photographs a degradation")
    parser.add_argument("--second-detector", help="an .onnx file")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    recognizer = vultus.load_recognizer(arguments.model, arguments.models, threads=1)
    pictures = [
        picture
        for identity, path in track(draw(arguments.data, arguments.images, rng), "measure")
        if (picture := see(read_image(path), identity, path)) is not None
    ]
    embeddings = recognizer.embed([p.face for p in pictures])
    labels = np.array([p.identity for p in pictures])
    threshold = threshold_at(embeddings, labels)
    result: dict[str, Any] = {"images": len(pictures), "threshold": threshold}

    result["clean"] = clean(pictures)
    result["degraded"] = degraded(pictures, embeddings, labels, threshold, arguments.degraded, recognizer, rng)
    result["pairs"] = pairs(pictures, embeddings, labels, threshold)
    result["pose"] = pose(pictures, arguments.second_detector)
    if arguments.sheets:
        sheets(pictures, arguments.sheets)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def draw(data: Path, images: int, rng: np.random.Generator) -> list[tuple[int, Path]]:
    """(identity, photograph): those of people with several first."""
    people: dict[str, list[Path]] = {}
    for path, name in read_listing(data)[1]:
        people.setdefault(name, []).append(path)
    drawn: list[tuple[int, Path]] = []
    for several in (True, False):
        for number, paths in enumerate(people.values()):
            if (len(paths) > 1) == several:
                drawn += [(number, paths[k]) for k in rng.permutation(len(paths))[:5]]
    mated = [d for d in drawn if len(list(people.values())[d[0]]) > 1]
    single = [d for d in drawn if len(list(people.values())[d[0]]) == 1]
    share = min(len(mated), max(images // 2, images - len(single)))
    return mated[:share] + [single[k] for k in rng.permutation(len(single))[: images - share]]


def see(image: np.ndarray, identity: int, path: Path, near: np.ndarray | None = None) -> Picture | None:
    """The face nearest the centre (or nearest the point `near`) of an RGB picture."""
    faces = load_detector(threads=1).detect(image)
    if near is None:
        chosen = select_faces(faces, (image.shape[0], image.shape[1]), "center")
    else:
        reach = 0.15 * max(image.shape[:2])
        chosen = sorted(faces, key=lambda f: float(np.linalg.norm(f.landmarks.mean(0) - near)))[:1]
        chosen = [f for f in chosen if np.linalg.norm(f.landmarks.mean(0) - near) < reach]
    if not chosen:
        return None
    face = Face(chosen[0].box, chosen[0].landmarks, chosen[0].score, align(image, chosen[0].landmarks))
    others = [f for f in faces if f is not chosen[0]]
    return Picture(identity, image, face, measure_quality(face, others), path)


def threshold_at(embeddings: np.ndarray, labels: np.ndarray) -> float:
    first, second = np.triu_indices(len(labels), 1)
    scores = (embeddings @ embeddings.T)[first, second]
    return float(np.quantile(scores[labels[first] != labels[second]], 1 - FMR))


def clean(pictures: list[Picture]) -> dict[str, Any]:
    found = {
        name: [[reason.code for reason in gate.reasons(p.quality)] for p in pictures] for name, gate in GATES.items()
    }
    shares = {name: Counter(code for codes in lists for code in codes) for name, lists in found.items()}
    rows = []
    for code in ReasonCode:
        values = np.abs([getattr(p.quality, code.value) for p in pictures])
        low, high = np.quantile(values, [0.005, 0.995])
        limits = [getattr(gate, code.value) for gate in GATES.values()]
        each = [f"{shares[name][code] / len(pictures):.2%}" for name in GATES]
        shown = ["-" if limit is None else f"{limit:g}" for limit in limits]
        rows.append((code.value, f"{low:.3g}", f"{np.median(values):.3g}", f"{high:.3g}", *shown, *each))
    total = {name: float(np.mean([bool(codes) for codes in lists])) for name, lists in found.items()}
    rows.append(("any limit", "", "", "", "", "", f"{total['enrol']:.2%}", f"{total['probe']:.2%}"))
    columns = ["measure", "0.5 %", "median", "99.5 %", "enrol limit", "probe limit", "enrol refuses", "probe refuses"]
    table(f"{len(pictures):,} clean photographs", columns, rows)
    each = {name: {code.value: n / len(pictures) for code, n in count.items()} for name, count in shares.items()}
    return {"refused": total, "by_limit": each}


def degraded(
    pictures: list[Picture],
    embeddings: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    count: int,
    recognizer: vultus.Recognizer,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    mated = np.flatnonzero(np.bincount(labels)[labels] > 1)
    chosen = [pictures[k] for k in rng.permutation(mated)[:count]]
    rows, result = [], []
    for name, change in track(list(DEGRADATIONS.items()), "degrade"):
        seen = []
        for p in chosen:
            image, near = change(p.image, p.face.landmarks.astype(np.float64), rng)
            if (found := see(image, p.identity, p.path, near)) is not None:
                seen.append((p, found))
        row: dict[str, Any] = {"name": name, "lost": 1 - len(seen) / len(chosen)}
        if seen:
            rejected, owner = probes(seen, recognizer, embeddings, labels, pictures, threshold)
            row["fnmr"] = float(rejected.mean())
            for gate_name, gate in GATES.items():
                reasons = [[r.code.value for r in gate.reasons(found.quality)] for _, found in seen]
                kept = np.array([not codes for codes in reasons])[owner]
                row[gate_name] = float(np.mean([bool(codes) for codes in reasons]))
                row[f"{gate_name}_fnmr"] = float(rejected[kept].mean()) if kept.any() else None
                row[f"{gate_name}_reasons"] = Counter(code for codes in reasons for code in codes).most_common(2)
        result.append(row)
        rows.append((name, *(shown(row.get(k)) for k in ("lost", "fnmr")), *gate_cells(row)))
    columns = ["photographs", "face lost", "FNMR", "enrol refuses", "FNMR kept", "probe refuses", "FNMR kept", "most"]
    title = f"{len(chosen)} photographs degraded, against the untouched ones of the same person (FNMR at FMR {FMR:g})"
    table(title, columns, rows, ["most: what the enrolment gate refuses most often"])
    return result


def gate_cells(row: dict[str, Any]) -> list[str]:
    most = ", ".join(code for code, _ in row.get("enrol_reasons", []))
    return [*(shown(row.get(k)) for k in ("enrol", "enrol_fnmr", "probe", "probe_fnmr")), most]


def shown(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def probes(
    seen: list[tuple[Picture, Picture]],
    recognizer: vultus.Recognizer,
    embeddings: np.ndarray,
    labels: np.ndarray,
    pictures: list[Picture],
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Each comparison's rejection, and the row of its probe in `seen`."""
    rows = recognizer.embed([found.face for _, found in seen])
    rejected, owner = [], []
    for number, ((original, _), row) in enumerate(zip(seen, rows, strict=True)):
        mates = [k for k in np.flatnonzero(labels == original.identity) if pictures[k] is not original]
        rejected.append(embeddings[mates] @ row < threshold)
        owner += [number] * len(mates)
    return np.concatenate(rejected), np.array(owner)


def pairs(pictures: list[Picture], embeddings: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, Any]:
    outcomes = decide(embeddings, labels, threshold)
    result: dict[str, Any] = {"mated": len(outcomes.mated), "fnmr": float(outcomes.rejected.mean())}
    print(f"\nClean mated pairs: {len(outcomes.mated):,}, FNMR {result['fnmr']:.2%} at FMR {FMR:g}")
    for name, gate in GATES.items():
        good = np.array([not gate.reasons(p.quality) for p in pictures])
        kept = good[outcomes.mated].all(axis=1)
        share, fnmr = 1 - kept.mean(), outcomes.rejected[kept].mean()
        others = outcomes.rejected[~kept].mean() if (~kept).any() else math.nan
        result[name] = {"discarded": float(share), "fnmr": float(fnmr), "fnmr_of_discarded": float(others)}
        print(f"  {name} gate discards {share:.2%} of them, FNMR {others:.2%}; FNMR of those kept {fnmr:.2%}")
    rows = [curve(code, pictures, outcomes) for code in ReasonCode]
    result["discard"] = {row[0]: row[1:] for row in rows}
    table(
        "FNMR of clean pairs by what is discarded",
        ["worst by", "none", "5 %", "20 %", "gain to 20 %"],
        [(row[0], *(f"{value:.2%}" for value in row[1:4]), f"{row[4]:.2f}") for row in rows],
        ["gain: 1 for an order that discards the errors first, 0 for a random one"],
    )
    return result


def curve(code: ReasonCode, pictures: list[Picture], outcomes: Outcomes) -> tuple[str, float, float, float, float]:
    values = np.abs([getattr(p.quality, code.value) for p in pictures])
    found = edc(outcomes, -values if code in LESS_IS_BETTER else values, name=code.value, fractions=(0.0, 0.05, 0.2))
    none, twentieth, fifth = (rate.errors / rate.trials for rate in found.fnmr)
    return code.value, none, twentieth, fifth, found.areas[0].gain or 0.0


def pose(pictures: list[Picture], second: str | None) -> dict[str, Any]:
    result: dict[str, Any] = {}
    upright = [p for p in pictures if abs(p.quality.pose_roll) < 5][:100]
    for degrees in (10, 20, 30, 45):
        turned = []
        for p in upright:
            image, near = rotate(degrees)(p.image, p.face.landmarks.astype(np.float64), np.random.default_rng(0))
            if (found := see(image, p.identity, p.path, near)) is not None:
                turned.append(found.quality.pose_roll - p.quality.pose_roll)
        low, mid, high = np.quantile(turned, [0.1, 0.5, 0.9])
        result[f"roll_{degrees}"] = [float(low), float(mid), float(high)]
        print(f"Turned by {degrees} degrees: measured {mid:.1f} (8 of 10 from {low:.1f} to {high:.1f})")
    if second:
        other = load_detector(second, threads=1)
        for name in ("pose_yaw", "pose_pitch"):
            here, there = [], []
            for p in pictures[:400]:
                faces = other.detect(p.image)
                if chosen := select_faces(faces, (p.image.shape[0], p.image.shape[1]), "center"):
                    f = Face(chosen[0].box, chosen[0].landmarks, chosen[0].score, p.face.crop)
                    here.append(getattr(p.quality, name))
                    there.append(getattr(measure_quality(f), name))
            slope = float(np.polyfit(there, here, 1)[0])
            correlation = float(np.corrcoef(here, there)[0, 1])
            spread = float(np.std(np.subtract(here, there)))
            result[name] = {"slope": slope, "correlation": correlation, "spread": spread}
            print(
                f"{name} by YuNet against {Path(second).name}: slope {slope:.2f}, r {correlation:.2f}, sd {spread:.1f}"
            )
    return result


def sheets(pictures: list[Picture], folder: Path) -> None:
    """refused_GATE_LIMIT.png and barely_GATE.png: crops with their values."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, gate in GATES.items():
        refused = [(p, r) for p in pictures for r in gate.reasons(p.quality)]
        tiles = [tile(p, f"{r.code.value[:12]} {r.value:.3g}") for p, r in refused]
        save(tiles, folder / f"refused_{name}.png")
        barely = []
        for code in ReasonCode:
            limit = getattr(gate, code.value)
            if limit is None:
                continue
            good = [p for p in pictures if not gate.reasons(p.quality)]
            good.sort(key=lambda p: abs(abs(getattr(p.quality, code.value)) - limit))
            barely += [tile(p, f"{code.value[:12]} {abs(getattr(p.quality, code.value)):.3g}") for p in good[:8]]
        save(barely, folder / f"barely_{name}.png")


def tile(picture: Picture, text: str) -> np.ndarray:
    assert picture.face.crop is not None
    drawn = cv2.copyMakeBorder(picture.face.crop, 0, 16, 0, 0, cv2.BORDER_CONSTANT)
    return cv2.putText(drawn, text, (2, 124), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (255, 255, 255), 1, cv2.LINE_AA)


def save(tiles: list[np.ndarray], path: Path, columns: int = 8) -> None:
    if tiles:
        tiles = tiles[:96] + [np.zeros_like(tiles[0])] * (-len(tiles[:96]) % columns)
        rows = [np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)]
        cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1])


Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""(photograph, landmarks, generator) -> (degraded photograph, where the face is now)."""


def blur(eyes: float) -> Change:
    """Gaussian blur; sigma in hundredths of the distance of the eyes."""

    def change(image: np.ndarray, points: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        sigma = eyes / 100 * float(np.linalg.norm(points[1] - points[0]))
        return cv2.GaussianBlur(image, (0, 0), sigma), points.mean(0)

    return change


def motion(eyes: float) -> Change:
    """A horizontal shake; its length in hundredths of the distance of the eyes."""

    def change(image: np.ndarray, points: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        length = max(1, round(eyes / 100 * float(np.linalg.norm(points[1] - points[0]))))
        return cv2.blur(image, (length, 1)), points.mean(0)

    return change


def light(factor: float) -> Change:
    """Linear light times a factor."""
    return lambda image, points, _: (lit(image, np.float32(factor)), points.mean(0))


def side(lost: float) -> Change:
    """One side of the face loses this share of its light, softly over the nose."""

    def change(image: np.ndarray, points: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        across = (points[1] - points[0]) / np.sum((points[1] - points[0]) ** 2)
        columns, rows = np.meshgrid(np.arange(image.shape[1]), np.arange(image.shape[0]))
        place = (columns - points[2, 0]) * across[0] + (rows - points[2, 1]) * across[1]
        return lit(image, (1 - lost / (1 + np.exp(6 * place)))[..., None].astype(np.float32)), points.mean(0)

    return change


def lit(image: np.ndarray, factor: np.ndarray | np.float32) -> np.ndarray:
    v = image.astype(np.float32) / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) * factor
    linear = linear.clip(0, 1)
    v = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(v * 255).astype(np.uint8)


def smaller(pixels: float) -> Change:
    """Reduced until the eyes are this far apart."""

    def change(image: np.ndarray, points: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        scale = min(1.0, pixels / float(np.linalg.norm(points[1] - points[0])))
        size = tuple(max(8, round(side * scale)) for side in image.shape[1::-1])
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA), points.mean(0) * scale

    return change


def rotate(degrees: float) -> Change:
    """Turned clockwise about the face."""

    def change(image: np.ndarray, points: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        centre = points.mean(0)
        matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), -degrees, 1)
        turned = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        return turned, centre

    return change


def noise(sigma: float) -> Change:
    return lambda image, points, rng: (
        np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8),
        points.mean(0),
    )


DEGRADATIONS: dict[str, Change] = {
    "untouched": light(1.0),
    **{f"blur, sigma {e} % of the eyes' distance": blur(e) for e in (3, 5, 7, 10)},
    **{f"shaken by {e} %": motion(e) for e in (20, 35, 50)},
    **{f"{f:.0%} of the light": light(f) for f in (0.3, 0.1, 0.05, 0.03, 0.01)},
    **{f"{f:g} times the light": light(f) for f in (2, 4, 8, 16)},
    **{f"one side without {s:.0%} of it": side(s) for s in (0.8, 0.95)},
    **{f"eyes {p} pixels apart": smaller(p) for p in (40, 30, 20, 16, 12, 8)},
    **{f"turned by {d} degrees": rotate(d) for d in (15, 20, 30, 45)},
    **{f"noise, sigma {s}": noise(s) for s in (10, 25)},
}


if __name__ == "__main__":
    main()
