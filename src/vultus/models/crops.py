"""Crops into a torch network and embeddings out of it, as the network's own preprocessing says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vultus.zoo import Preprocessing

BATCH = 64


def preprocessing_of(network: nn.Module) -> Preprocessing:
    """What `create_model` noted on the network; ArcFace's where nothing is noted."""
    noted = getattr(network, "preprocessing", None)
    return noted if isinstance(noted, Preprocessing) else Preprocessing()


def normalise(crops: Tensor, how: Preprocessing | None = None) -> Tensor:
    """(B, H, W, 3) uint8 RGB crops to (B, 3, h, w) float32 as `how` wants them, channels-last in memory.

    A crop of the wanted height but wider is cut in the middle (MobileFaceNet's 112 x 96); others are resized.
    """
    how = how or Preprocessing()
    height, width = how.crop_size
    if crops.shape[1] == height and crops.shape[2] > width:
        left = (crops.shape[2] - width) // 2
        crops = crops[:, :, left : left + width]
    if how.color == "BGR":
        crops = crops.flip(-1)
    pixels = crops.permute(0, 3, 1, 2).float()
    if pixels.shape[2:] != (height, width):
        # antialiased where it shrinks, as the runtime's area interpolation
        pixels = nn.functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    if len({*how.mean}) == 1 and len({*how.std}) == 1:
        return pixels.sub_(how.mean[0]).mul_(1 / how.std[0])
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (how.mean, how.std))
    return pixels.sub_(mean).div_(std)


def embed_crops(network: nn.Module, crops: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
    """Unit embeddings (N, D) float32 of (N, 112, 112, 3) uint8 RGB crops; the network's mode is put back."""
    device = next(network.parameters()).device
    how = preprocessing_of(network)
    training = [module for module in network.modules() if module.training]
    network.eval()
    parts = []
    try:
        with torch.inference_mode():
            for start in range(0, len(crops), batch_size):
                batch = torch.from_numpy(np.ascontiguousarray(crops[start : start + batch_size])).to(device)
                raw = network(normalise(batch, how).contiguous(memory_format=torch.channels_last)).float()
                parts.append(nn.functional.normalize(raw).cpu().numpy())
    finally:
        for module in training:  # each by itself: frozen parts stay in evaluation mode
            module.training = True
    return np.concatenate(parts)
