"""Identity-disjoint splits, written as index files beside the crops."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from vultus.data.dataset import FaceDataset
from vultus.errors import VultusError
from vultus.files import save_atomically, writing


def split_dataset(
    root: str | Path, fractions: dict[str, float], *, seed: int = 0, by: str = "identity"
) -> dict[str, Any]:
    """Deal the identities of a dataset to named splits. Crops stay as they are; earlier splits are replaced.

    Identities are drawn separately among those with one image and those with more, so that every split gets its share
    of mated pairs.

    Args:
        fractions: share of the identities of each split, above 0, summing to at most 1.

    Returns:
        For each split its images, identities and identities with two or more images.

    Raises:
        VultusError: impossible fractions, or a split that would be empty.
    """
    if by != "identity":
        raise VultusError(f"--by {by}: only identity is known; splitting by image would let a test face be trained on")
    if not fractions:
        raise VultusError("name at least one split, for example train=0.8 test=0.2")
    for name, share in fractions.items():
        if not name.replace("_", "").replace("-", "").isalnum():
            raise VultusError(f"split name {name!r}: use letters, digits, - and _")
        if not 0 < share <= 1:
            raise VultusError(f"{name}={share}: a share must be above 0 and at most 1")
    if (total := sum(fractions.values())) > 1 + 1e-9:
        raise VultusError(f"the shares sum to {total:.3g}, more than 1")
    root = Path(root)
    data = FaceDataset.open(root)
    if data.name is not None:
        raise VultusError(f"{root} is a split of {data.root}; split the whole dataset: {data.root}")
    info = data.info
    counts = data.counts
    generator = np.random.default_rng(seed)
    owner = np.full(len(counts), -1)
    for stratum in (np.flatnonzero(counts >= 2), np.flatnonzero(counts < 2)):
        shuffled = generator.permutation(stratum)
        ends = np.round(np.cumsum(list(fractions.values())) * len(shuffled)).astype(int)
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            owner[shuffled[start:end]] = number
    folder = root / "splits"
    views: dict[str, np.ndarray] = {}
    summary: dict[str, Any] = {}
    for number, name in enumerate(fractions):
        chosen = np.flatnonzero(owner == number)
        if not len(chosen):
            raise VultusError(f"{name}={fractions[name]} of {len(counts)} identities is none; give it a larger share")
        views[name] = data.rows[np.isin(data.labels, chosen)]
        summary[name] = {
            "images": len(views[name]),
            "identities": len(chosen),
            "identities_with_two_or_more": int((counts[chosen] >= 2).sum()),
        }
    with ExitStack() as files:
        for name, rows in views.items():
            np.save(files.enter_context(writing(folder / f"{name}.npy")), rows)
        for old in folder.glob("*.npy"):  # the new ones get their names next
            old.unlink()
    manifest = {"by": by, "seed": seed, "fractions": fractions, "dataset_digest": info["digest"], "splits": summary}
    save_atomically((json.dumps(manifest, indent=2) + "\n").encode(), folder / "splits.json")
    return summary
