"""Does fine-tuning help, on real faces? Published recognisers adapted to masks, poor cameras, and the clean set.

    uv run python benchmarks/finetune.py --photographs FACES --weights WEIGHTS --detector YUNET.onnx --out runs/shifts
        [--domains mask low-quality clean] [--models mobilefacenet edgeface] [--seeds 0 1 2] [key=value ...]

FACES is a folder a person; WEIGHTS holds mobilefacenet_112x96/068.ckpt and edgeface/edgeface_xxs_dequant_fp32.pt.
People are split once (train, val, calibration, test: disjoint). The shifted copies are made by `vultus data shift` with
another seed than training uses. Every run trains on clean photographs with the domain's augmentation, picks its
checkpoint on shifted validation people, and is measured on test people that nobody has seen: pairs of two shifted
crops, of two clean ones, of a clean enrolled and a shifted probe, and a clean gallery enrolled by the ORIGINAL network
against probes by the new one. At most 10 images an identity. The interval of a difference comes from resampling
identities, 2,000 times, thresholds held. Finished runs are kept; an interrupted one goes on. Prints the table, writes
OUT/table.json and OUT/table.md.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np

from vultus.data import FaceDataset, build_dataset, split_dataset
from vultus.evaluation import verify_all_pairs, verify_cross
from vultus.terminal import table
from vultus.training import open_run, train
from vultus.workflows import Embedder, open_embedder
from vultus.workflows.finetune import finetune
from vultus.workflows.shift import shift_dataset

WEIGHTS = {
    "mobilefacenet": "mobilefacenet_112x96/068.ckpt",
    "edgeface": "edgeface/edgeface_xxs_dequant_fp32.pt",
}
AUGMENT = {
    "mask": ["augment.mask=0.3"],
    "low-quality": ["augment.low_quality=0.3"],
    "clean": [],
}
SPLITS = {"train": 0.5, "val": 0.1, "calibration": 0.1, "test": 0.3}
FAR = 1e-3
DRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--detector", default="yunet", help="a detector's name or file")
    parser.add_argument("--out", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--domains", nargs="+", default=list(AUGMENT), choices=list(AUGMENT))
    parser.add_argument("--models", nargs="+", default=list(WEIGHTS), choices=list(WEIGHTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variant", default="", help="name of a variation of the recipe, kept apart")
    parser.add_argument("overrides", nargs="*", help="key=value of the recipe")
    arguments = parser.parse_args()

    data = prepare(arguments.photographs, arguments.detector, arguments.out / "data", arguments.domains)
    rows = []
    for domain in arguments.domains:
        for seed in arguments.seeds:
            for model in arguments.models:
                name = "-".join(part for part in (domain, model, str(seed), arguments.variant) if part)
                folder = arguments.out / name
                if not (folder / "result.json").is_file():
                    run_one(data, domain, arguments.weights / WEIGHTS[model], seed, folder, arguments.overrides)
                rows.append(json.loads((folder / "result.json").read_text()))
                rows[-1] |= {"domain": domain, "model": model, "seed": seed, "variant": arguments.variant}
                show(rows, arguments.out)


def prepare(photographs: Path, detector: str, root: Path, domains: list[str]) -> dict[str, Path]:
    """Build, split and shift once."""
    clean = root / "clean"
    if not (clean / "dataset.json").is_file():
        build_dataset(photographs, clean, detector=detector)
        split_dataset(clean, SPLITS, seed=1)
    folders = {"clean": clean}
    for domain in domains:
        folders[domain] = root / domain
        if not (folders[domain] / "dataset.json").is_file():
            shift_dataset(clean, folders[domain], domain, seed=1000)
    return folders


def run_one(data: dict[str, Path], domain: str, weights: Path, seed: int, folder: Path, overrides: list[str]) -> None:
    """Train (or go on), measure, write result.json."""
    spent = folder / "spent.json"
    before = json.loads(spent.read_text())["cpu_minutes"] if spent.is_file() else 0.0
    started = cpu_minutes()
    run = folder / "run"
    try:
        if (run / "run.json").is_file() and not finished(run):
            train(str(run), resume=True)
        elif not (run / "run.json").is_file():
            changes = [*AUGMENT[domain], f"data.validation={data[domain]}/val", f"training.seed={seed}", *overrides]
            finetune(data["clean"], weights, run=run, overrides=changes)
    finally:
        folder.mkdir(parents=True, exist_ok=True)
        spent.write_text(json.dumps({"cpu_minutes": before + cpu_minutes() - started}))
    result = measure(open_embedder(weights), open_embedder(run), data, domain)
    result["cpu_minutes"] = json.loads(spent.read_text())["cpu_minutes"]
    result["facts"] = {key: open_run(run).facts.get(key) for key in ("images", "identities", "steps", "commit")}
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def finished(run: Path) -> bool:
    opened = open_run(run)
    return opened.load()["step"] >= opened.facts["steps"]


def cpu_minutes() -> float:
    """Of this process and its ended children (the data workers)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used) / 60


def measure(old: Embedder, new: Embedder, data: dict[str, Path], domain: str) -> dict[str, Any]:
    """TAR at FAR before and after, and the difference with its interval, for each kind of pair."""
    clean = FaceDataset.open(data["clean"] / "test").at_most(10)
    shifted = FaceDataset.open(data[domain] / "test").at_most(10)
    assert clean.sources == shifted.sources
    labels = clean.labels
    a, b = {"clean": original(old, clean)}, {"clean": new.dataset(clean)}
    a["shifted"] = original(old, shifted)
    b["shifted"] = b["clean"] if domain == "clean" else new.dataset(shifted)
    pairs = {
        "shifted": ((a["shifted"], a["shifted"]), (b["shifted"], b["shifted"])),
        "clean": ((a["clean"], a["clean"]), (b["clean"], b["clean"])),
        "clean, shifted probe": ((a["clean"], a["shifted"]), (b["clean"], b["shifted"])),
        "old gallery, new probe": ((a["clean"], a["clean"]), (a["clean"], b["clean"])),
        "old gallery, new shifted probe": ((a["clean"], a["shifted"]), (a["clean"], b["shifted"])),
    }
    return {name: compare(before, after, labels) for name, (before, after) in pairs.items()}


def original(old: Embedder, data: FaceDataset) -> np.ndarray:
    """Embeddings by the published network, the same for every run."""
    path = data.root.parent / f"{data.root.name}-{Path(old.name).name}.npy"
    if not path.is_file():
        np.save(path, old.dataset(data))
    return np.load(path)


def compare(before: tuple[np.ndarray, ...], after: tuple[np.ndarray, ...], labels: np.ndarray) -> dict[str, Any]:
    found = [
        verify_all_pairs(one, labels, (FAR,)) if one is other else verify_cross(one, other, labels, (FAR,))
        for one, other in (before, after)
    ]
    points = [each.point(FAR) for each in found]
    assert points[0].tar is not None and points[1].tar is not None, "the test split is too small for this FAR"
    hits = [per_identity(*pair, labels, float(point.threshold or 0)) for pair, point in zip((before, after), points)]
    low, high = interval(hits[0][0], hits[1][0], hits[0][1])
    return {
        "before": points[0].tar,
        "before_interval": points[0].tar_interval,
        "after": points[1].tar,
        "after_interval": points[1].tar_interval,
        "difference": points[1].tar - points[0].tar,
        "difference_interval": [low, high],
        "mated": found[0].mated,
        "non_mated": found[0].non_mated,
        "thresholds": [point.threshold for point in points],
    }


def per_identity(
    enrolled: np.ndarray, probes: np.ndarray, labels: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """(matches, comparisons) of each identity's own pairs, (I,) each."""
    matches, counts = np.zeros(labels.max() + 1), np.zeros(labels.max() + 1)
    for identity in range(len(counts)):
        rows = np.flatnonzero(labels == identity)
        scores = (enrolled[rows] @ probes[rows].T)[~np.eye(len(rows), dtype=bool)]
        matches[identity], counts[identity] = (scores >= threshold).sum(), scores.size
    return matches, counts


def interval(before: np.ndarray, after: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the difference of two TARs, identities resampled."""
    random, people = np.random.default_rng(0), np.flatnonzero(counts)
    drawn = random.choice(people, (DRAWS, len(people)))
    differences = (after[drawn].sum(1) - before[drawn].sum(1)) / counts[drawn].sum(1)
    low, high = np.quantile(differences, (0.025, 0.975))
    return float(low), float(high)


KINDS = ("shifted", "clean", "clean, shifted probe", "old gallery, new probe", "old gallery, new shifted probe")


def show(rows: list[dict[str, Any]], out: Path) -> None:
    """The table so far, on the terminal and in OUT."""
    columns = ("run", "pairs", "before", "after", "difference, points", "CPU min")
    body = []
    for row in rows:
        run = " ".join(str(row[key]) for key in ("domain", "model", "seed", "variant") if row[key] != "")
        for kind in KINDS:
            if row["domain"] == "clean" and "shifted" in kind:
                continue
            found = row[kind]
            low, high = (100 * end for end in found["difference_interval"])
            change = f"{100 * found['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
            body.append((run, kind, f"{found['before']:.2%}", f"{found['after']:.2%}", change, ""))
        body[-1] = (*body[-1][:-1], f"{row['cpu_minutes']:.1f}")
    note = f"TAR at FAR {FAR:g} of test people; 95 % interval of the difference, identities resampled"
    table("Fine-tuning, measured on other people", columns, body, [note])
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    lines = [" | ".join(map(str, line)) for line in (columns, ["---"] * len(columns), *body)]
    (out / "table.md").write_text("\n".join(f"| {line} |" for line in lines) + f"\n\n{note}\n")


if __name__ == "__main__":
    main()
