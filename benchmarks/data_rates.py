"""Rates of the data path on one process, medians of repeats: rows, decoding, augmentation, procedural faces.

    uv run python benchmarks/data_rates.py DATA/SPLIT [--out result.json]

Peers in the same run: Hugging Face `datasets` without a view, and torchvision's per-image transforms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from vultus.data import Augmentation, FaceDataset
from vultus.data.dataset import decode_crop
from vultus.data.synth import ProceduralFaces
from vultus.terminal import table


def rate(work: Callable[[], int], repeats: int = 5) -> float:
    """Items a second of CPU time: other work on the machine does not count."""
    rates = []
    for _ in range(repeats):
        started = time.process_time()
        done = work()
        rates.append(done / (time.process_time() - started))
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    import torch
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    data = FaceDataset.open(arguments.data)
    order = np.random.default_rng(0).permutation(len(data))
    plain = data._table.select_columns(["crop", "identity"])

    def rows() -> int:
        for _ in range(5):
            for start in range(0, len(order), 128):
                chosen = order[start : start + 128]
                data.encoded(chosen), data.labels[chosen]
        return 5 * len(order)

    def hugging_face() -> int:
        for _ in range(5):
            for start in range(0, len(order), 128):
                plain[data.rows[order[start : start + 128]].tolist()]
        return 5 * len(order)

    content = data.encoded(order[:1500])
    crops = [decode_crop(item) for item in content]
    ours = Augmentation(flip=0.5, color=0.3, crop=0.3, low_resolution=0.2, blur=0.2)
    random = np.random.default_rng(0)
    peer = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4)], 0.3),
            v2.RandomApply([v2.RandomResizedCrop(112, (0.36, 1.0), antialias=True)], 0.3),
            v2.RandomApply([v2.GaussianBlur(5, (0.4, 2.0))], 0.2),
        ]
    )
    tensors = [torch.from_numpy(crop).permute(2, 0, 1) for crop in crops[:300]]
    faces = ProceduralFaces(seed=1)

    measured = {
        "random undecoded rows (crop and label) through a view": rate(rows),
        "  peer: datasets, the same columns without a view": rate(hugging_face),
        "JPEG decoding, crops": rate(lambda: len([decode_crop(item) for item in content])),
        "augmentation, crops": rate(lambda: len([ours(crop, random) for crop in crops])),
        "  peer: torchvision v2 per image, without low resolution": rate(lambda: len([peer(t) for t in tensors]), 3),
        "procedural faces, 15 images an identity": rate(
            lambda: len([faces.render(i, s) for i in range(20) for s in range(15)]), 3
        ),
    }
    table(f"Items a second of one core, {data.title}", ("", "1/s"), [(n, f"{r:,.0f}") for n, r in measured.items()])
    if arguments.out:
        arguments.out.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
