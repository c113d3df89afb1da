"""Embedding crops: our runtime beside insightface's and plain onnxruntime, and what lower precisions cost and bring.

    uv run python benchmarks/runtime.py --data DATA/test --crops DATA/train [--seconds 20] [--out r.json]
    uv run python benchmarks/runtime.py                       # speed alone, on procedural faces

DATA is a split dataset; for LFW: `vultus data build PHOTOS --out DATA --detector yunet-n`, then `vultus data split
DATA ...`. int8 takes its value ranges from --crops; TAR is measured on other people (--data, at most 10 images each).
Every method gets the same (112, 112, 3) uint8 crops, and normalising them counts. Methods take turns in random
order; medians are shown. Needs the extras int8 and openvino, and insightface.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from vultus.data import FaceDataset
from vultus.evaluation import verify_all_pairs
from vultus.recognizer import Card, Recognizer, open_model
from vultus.recognizer.compatible import for_insightface
from vultus.recognizer.convert import CROPS, to_int8
from vultus.recognizer.pixels import to_pixels
from vultus.terminal import table
from vultus.zoo import Contract, canonical_digest

PEER, PLAIN = "insightface ArcFaceONNX", "plain onnxruntime"
FARS = (1e-3, 1e-4)
BATCHES = (1, 32)
RUNS = {1: 12, 32: 1}
"""Runs of a method in one turn."""
PAUSE = 0.05
"""Seconds before a turn: threads of the runtime before it spin for a while after their work."""
Embed = Callable[[list[np.ndarray]], np.ndarray]


@dataclasses.dataclass
class Method:
    name: str
    embed: Embed
    megabytes: float
    load_s: float
    """From the network in memory to the first embedding of a crop."""
    turns: dict[int, list[float]] = dataclasses.field(default_factory=lambda: {batch: [] for batch in BATCHES})

    def rate(self, batch: int) -> float:
        """Crops a second."""
        return batch / statistics.median(self.turns[batch])


def insightface(model: onnx.ModelProto, contract: Contract, folder: Path) -> Embed:
    """The unmodified package's own class, on the network as it is published."""
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX

    path = folder / "insightface.onnx"
    onnx.save(for_insightface(model, contract)[0], str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arcface = ArcFaceONNX(str(path), session)
    return lambda crops: arcface.get_feat([crop[..., ::-1] for crop in crops])


def plain(model: onnx.ModelProto, contract: Contract, folder: Path) -> Embed:
    """onnxruntime with its defaults, on the network as it is published."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda crops: np.asarray(session.run(None, {name: to_pixels(crops, contract)})[0]).reshape(len(crops), -1)


def methods_of(model: onnx.ModelProto, card: Card, ranges: np.ndarray, folder: Path) -> list[Method]:
    contract = card.contract
    small = to_int8(model, to_pixels(list(ranges), contract))
    small_card = dataclasses.replace(
        card, contract=dataclasses.replace(contract, weights=canonical_digest(small), precision="int8")
    )

    def ours(which: tuple[onnx.ModelProto, Card], **options: Any) -> Callable[[], Embed]:
        return lambda: Recognizer(*which, **options).embed

    exact, quantised = (model, card), (small, small_card)
    makers: dict[str, tuple[onnx.ModelProto, Callable[[], Embed]]] = {
        PEER: (model, lambda: insightface(model, contract, folder)),
        PLAIN: (model, lambda: plain(model, contract, folder)),
        "vultus, onnxruntime": (model, ours(exact, backend="onnxruntime")),
        "vultus, OpenVINO": (model, ours(exact, backend="openvino")),
        "vultus, bf16, OpenVINO": (model, ours(exact, precision="bf16")),
        "vultus, int8, onnxruntime": (small, ours(quantised, backend="onnxruntime")),
        "vultus, int8, OpenVINO": (small, ours(quantised, backend="openvino")),
    }
    found = []
    for name, (network, make) in makers.items():
        start = time.perf_counter()
        embed = make()
        embed([ranges[0]])
        found.append(Method(name, embed, network.ByteSize() / 1e6, time.perf_counter() - start))
    return found


def take_turns(methods: list[Method], crops: np.ndarray, seconds: float) -> None:
    for batch in BATCHES:
        given = list(crops[:batch])
        for method in methods:
            method.embed(given)  # buffers of this size
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(methods[0].turns[batch]) < 3:
            for method in random.sample(methods, len(methods)):
                time.sleep(PAUSE)
                start = time.perf_counter()
                for _ in range(RUNS[batch]):
                    method.embed(given)
                method.turns[batch].append((time.perf_counter() - start) / RUNS[batch])


def accuracy(method: Method, data: FaceDataset) -> tuple[np.ndarray, dict[str, Any]]:
    parts = [method.embed(list(data.crops(range(s, min(s + 32, len(data)))))) for s in range(0, len(data), 32)]
    rows = np.concatenate(parts).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = verify_all_pairs(rows, data.labels, FARS)
    points = {f"{far:g}": {"tar": (p := found.point(far)).tar, "interval": p.tar_interval} for far in FARS}
    return rows, {"tar": points, "mated": found.mated, "non_mated": found.non_mated}


def measure(name: str, options: argparse.Namespace, ranges: np.ndarray, data: FaceDataset | None) -> dict[str, Any]:
    model, card, trained = network_of(name)
    print(f"{name}: converting ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        methods = methods_of(model, card, ranges, Path(folder))
        take_turns(methods, ranges, options.seconds)
        result: dict[str, Any] = {"model": name, "trained": trained, "methods": []}
        exact = None
        for method in methods:
            facts: dict[str, Any] = {
                "name": method.name,
                "megabytes": round(method.megabytes, 2),
                "load_s": round(method.load_s, 3),
                "images_per_s": {str(batch): round(method.rate(batch), 1) for batch in BATCHES},
                "of_insightface": {str(b): round(method.rate(b) / methods[0].rate(b), 2) for b in BATCHES},
                "turns": {str(batch): len(method.turns[batch]) for batch in BATCHES},
            }
            if data is not None and trained:
                print(f"{name}: {method.name}: embedding {len(data)} crops ...", flush=True)
                rows, figures = accuracy(method, data)
                exact = rows if exact is None else exact
                facts |= {**figures, "least_cosine_to_insightface": float((rows * exact).sum(1).min())}
            result["methods"].append(facts)
    return result


def network_of(name: str) -> tuple[onnx.ModelProto, Card, bool]:
    """Of a recogniser, or of an untrained backbone with running statistics of noise."""
    if name == "sface" or Path(name).suffix:
        return *open_model(name), True
    import torch

    from vultus.models import create_model
    from vultus.recognizer.export import as_onnx

    torch.manual_seed(0)
    network = create_model(name, 512).train()
    with torch.no_grad():
        network(torch.randn(8, 3, 112, 112))
    model, contract = as_onnx(network)
    return model, Card(name, contract, "random weights"), False


def show(result: dict[str, Any]) -> None:
    rows = []
    for m in result["methods"]:
        tar = [f"{m['tar'][f'{far:g}']['tar']:.2%}" if m.get("tar") else "-" for far in FARS]
        speed = [f"{m['images_per_s'][str(b)]:,.0f} ({m['of_insightface'][str(b)]:.2f}x)" for b in BATCHES]
        rows.append((m["name"], f"{m['megabytes']:.1f}", *speed, *tar, f"{m['load_s']:.2f}"))
    heads = ("method", "MB", "crops/s, batch 1", "batch 32", "TAR at FAR 1e-3", "at 1e-4", "load, s")
    notes = [] if result["trained"] else ["Random weights: for speed alone."]
    pairs = result["methods"][0]
    if pairs.get("mated"):
        notes.append(f"{pairs['mated']:,} mated and {pairs['non_mated']:,} non-mated pairs")
    table(result["model"], heads, rows, notes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="names, files, or backbones for random weights")
    parser.add_argument("--weights", type=Path, default=Path("../shared/data/weights"), help="folder of the defaults")
    parser.add_argument("--data", type=Path, help="dataset view to measure TAR on")
    parser.add_argument("--crops", type=Path, help="dataset view of other people, for the value ranges of int8")
    parser.add_argument("--seconds", type=float, default=20, help="of turns, a model and batch size")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    data = FaceDataset.open(options.data).at_most(10) if options.data else None
    if data is not None and options.crops is None:
        parser.error("--data needs --crops: int8 must not be fitted to the people it is measured on")
    if options.crops:
        pool = FaceDataset.open(options.crops)
        ranges = pool.crops(np.sort(np.random.default_rng(0).permutation(len(pool))[:CROPS]))
    else:
        from vultus.data.synth import ProceduralFaces

        faces = ProceduralFaces(seed=0)
        ranges = np.stack([faces.render(identity, 0) for identity in range(64)])
    names = options.models or [
        "sface",
        str(options.weights / "mobilefacenet_112x112" / "mobilefacenet.onnx"),
        str(options.weights / "edgeface" / "edgeface_xxs_dequant_fp32.pt"),
        "iresnet50",
    ]
    results = []
    for name in names:
        results.append(measure(name, options, ranges, data))
        show(results[-1])
    if options.out:
        facts = {"cores": os.cpu_count(), "onnxruntime": onnxruntime.__version__, "data": str(options.data)}
        options.out.write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
