"""What a trained network must beat, measured beside it on the same crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vultus.data import FaceDataset
from vultus.evaluation import Verification, verify_all_pairs
from vultus.evaluation.baselines import WhitenedPCA, mean_colour

PCA_CROPS = 6000
"""Training crops that the principal components are fitted on, at most."""


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
