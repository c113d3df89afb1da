"""What a good figure is: baselines measured beside a recogniser, on the same people."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.evaluation import Verification, verify_all_pairs
from vultus.evaluation.baselines import WhitenedPCA, mean_colour
from vultus.workflows.embedder import Embedder, open_embedder
from vultus.zoo import model_file
from vultus.zoo.locate import find_file

PCA_CROPS = 6000
"""Training crops that the principal components are fitted on, at most."""
PCA_LEAST = 40
"""And at least: fewer show no directions."""
SHIPPED = "sface"
"""The recogniser that stands beside every other one, where its file is on this machine."""
MOST = 10_000
"""Crops up to which baselines are measured with every evaluation: beyond it they would take minutes."""


def beside(embedder: Embedder, data: FaceDataset, models_dir: str | None = None) -> list[Embedder]:
    """What knows nothing about faces, and the shipped recogniser (unless it is `embedder`); nothing is downloaded.

    Whitened PCA is fitted on the people of `DATA/train` who are not in `data`, else on the crops of `data` themselves.
    """
    if len(data) > MOST:
        return []
    found = []
    entry = model_file(SHIPPED, "recognizer")
    with suppress(VultusError):  # absent, or another file of that name: no reason to measure nothing
        shipped = open_embedder(find_file(entry, models_dir, download=False), models_dir)
        if shipped.contract_id != embedder.contract_id and tuple(data.info["crop_size"]) == (112, 112):
            found.append(replace(shipped, name=SHIPPED))
    name = "whitened PCA of pixels"
    fitted = FaceDataset.open(data.root / "train") if "train" in data.splits else data
    others = np.flatnonzero(~np.isin(np.array(fitted.identities)[fitted.labels], data.identities))
    if len(others) < PCA_LEAST:
        fitted, others, name = data, np.arange(len(data)), f"{name} (of these crops)"
    if len(others) >= PCA_LEAST:
        few = others[np.sort(np.random.default_rng(0).permutation(len(others))[:PCA_CROPS])]
        pca = WhitenedPCA(min(128, len(few) // 4)).fit(fitted.crops(few))
        found.append(Embedder(name, pca.transform))
    return found


def baselines(run: str | Path, train: FaceDataset, test: FaceDataset) -> dict[str, Verification]:
    """Whitened PCA-128 of pixels fitted on `train`, the run's network before training, the mean colour; on `test`."""
    import torch

    from vultus.models import create_model
    from vultus.models.crops import embed_crops
    from vultus.training import open_run

    crops, section = test.crops(), open_run(run).recipe.model
    torch.manual_seed(0)
    untrained = create_model(section.name, section.embedding_dim, **section.options)
    few = np.sort(np.random.default_rng(0).permutation(len(train))[:PCA_CROPS])
    rows = {
        "whitened PCA-128 of pixels": WhitenedPCA(128).fit(train.crops(few)).transform(crops),
        "the same network, untrained": embed_crops(untrained, crops),
        "mean colour of the crop": mean_colour(crops),
    }
    return {name: verify_all_pairs(embeddings, test.labels) for name, embeddings in rows.items()}
