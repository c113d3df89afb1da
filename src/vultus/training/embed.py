"""Embeddings of crops by a torch network in evaluation mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

MEAN = STD = (127.5, 127.5, 127.5)
"""What our networks are trained on: RGB pixels to [-1, 1], as ArcFace. Goes into the contract of an export."""


def normalise(crops: torch.Tensor) -> torch.Tensor:
    """(B, 112, 112, 3) uint8 to (B, 3, 112, 112) float32 in [-1, 1]: a view in channels-last order, one pass."""
    return crops.permute(0, 3, 1, 2).float().sub_(MEAN[0]).mul_(1 / STD[0])


def embed_crops(network: torch.nn.Module, crops: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Unit embeddings (N, D) float32 of (N, 112, 112, 3) uint8 RGB crops; the network's mode is put back."""
    import torch

    device = next(network.parameters()).device
    training = network.training
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(crops[start : start + batch_size])).to(device)
            raw = network(normalise(batch).contiguous(memory_format=torch.channels_last)).float()
            parts.append(torch.nn.functional.normalize(raw).cpu().numpy())
    network.train(training)
    return np.concatenate(parts)
