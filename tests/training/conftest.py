"""A trained network to fine-tune, and recipes for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vultus.data import FaceDataset
from vultus.training import Recipe, Run, train


@pytest.fixture(scope="session")
def faces(procedural: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The procedural dataset with more splits of `train`: `early`, 12 people, and `late`, 4 of these and 4 others."""
    root = tmp_path_factory.mktemp("faces") / "faces"
    shutil.copytree(procedural, root)
    data = FaceDataset.open(root / "train")
    for name, people in {"early": range(12), "late": range(8, 16)}.items():
        np.save(root / "splits" / f"{name}.npy", data.rows[np.isin(data.labels, list(people))])
    return root


@pytest.fixture(scope="session")
def ancestor(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network trained for a few steps on `early`."""
    torch.set_num_threads(1)
    return train(
        Recipe.from_dict(
            {
                "run": str(tmp_path_factory.mktemp("ancestor") / "ancestor"),
                "data": {"train": str(faces / "early")},
                "model": {"name": "tinyresnet", "embedding_dim": 32, "options": {"widths": [8, 16, 16]}},
                "loss": {"name": "arcface", "scale": 16.0, "margin": 0.1},
                "training": {"epochs": 10, "batch_size": 24, "workers": 0},
            }
        ),
        quiet=True,
    )


@pytest.fixture
def wanted(faces: Path, ancestor: Run, tmp_path: Path) -> Callable[..., Recipe]:
    """Recipes that fine-tune `ancestor` on `late`; sections are merged into the default's."""

    def make(name: str = "run", **sections: Any) -> Recipe:
        values: dict[str, Any] = {
            "run": str(tmp_path / name),
            "data": {"train": str(faces / "late")},
            "model": {"weights": str(ancestor.path)},
            "loss": {"name": "arcface", "scale": 16.0, "margin": 0.1},
            "optimizer": {"lr": 0.05},
            "training": {"epochs": 2, "batch_size": 16, "workers": 0},
        }
        for key, section in sections.items():
            values[key] = {**values.get(key, {}), **section}
        return Recipe.from_dict(values)

    return make
