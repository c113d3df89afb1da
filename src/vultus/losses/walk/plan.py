"""Which engine walks, in chunks of how many classes, and whether it keeps the products for backward."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

ENGINES = ("auto", "dense", "cut", "triton")

CPU_CHUNK_BYTES = 10 * 2**20
"""Products, centres and their gradient of one chunk should stay in the processor's cache (benchmarks/head.py)."""
GPU_CHUNK_BYTES = 512 * 2**20
KEEP_SHARE = 0.25
"""Products are kept where they take no more than this of the memory that is free."""


@dataclass(frozen=True)
class Plan:
    """How to walk: `chunk` classes at a time; `keep` (B, C) weights from forward to backward, or multiply again."""

    chunk: int
    keep: bool


def make_plan(
    engine: str, batch: int, classes: int, width: int, device: torch.device, keep: bool | None = None
) -> Plan:
    """The plan of an engine for B embeddings and C classes whose centres have `width` numbers (K * D).

    `dense` takes all classes in one chunk. `cut` and `auto` take chunks that fit the cache, and keep the products where
    they fit the memory that is free, unless `keep` says otherwise.
    """
    if engine == "dense":
        return Plan(max(1, classes), keep is None or keep)
    budget = GPU_CHUNK_BYTES if device.type == "cuda" else CPU_CHUNK_BYTES
    fitting = max(1, budget // (4 * (batch + 2 * width)))
    chunk = min(max(1, classes), max(256, 1 << (fitting.bit_length() - 1)))
    if keep is None:
        keep = chunk >= classes or 4 * batch * classes <= KEEP_SHARE * free_memory(device)
    return Plan(chunk, keep)


def free_memory(device: torch.device) -> float:
    """Bytes that can be had without swapping; on a system that does not tell, 4 GiB."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 * 2**30
