"""Small networks that stand for real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vultus.data import FaceDataset
from vultus.models import create_model
from vultus.recognizer import export_onnx


@pytest.fixture(scope="session")
def lively_network() -> torch.nn.Module:
    """tinyresnet, 32 dimensions, with running statistics and slopes that are not at their start."""
    torch.manual_seed(0)
    network = create_model("tinyresnet", 32).train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.PReLU):
                module.weight.uniform_(-0.3, 1.3)
        for _ in range(3):
            network(torch.randn(8, 3, 112, 112))
    return network.eval()


@pytest.fixture(scope="session")
def lively_file(lively_network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lively") / "lively.onnx"
    export_onnx(lively_network, path, name="lively", licence="CC0-1.0")
    return path


@pytest.fixture(scope="session")
def drawn_crops(procedural: Path) -> np.ndarray:
    return FaceDataset.open(procedural / "val").crops(range(12))
