"""Any timm backbone as a face embedder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vultus.errors import VultusError

CROP = 112


class TimmEmbedder(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    The backbone's pooled features pass BN, dropout, a linear layer and BN. Pretrained timm weights expect the mean and
    deviation of `backbone.pretrained_cfg`; crops normalised otherwise work, as fine-tuning adapts the first layers.
    """

    def __init__(self, backbone: nn.Module, width: int, embedding_dim: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, embedding_dim, bias=False)
        self.features = nn.BatchNorm1d(embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(self.fc(self.dropout(self.norm(self.backbone(x)))))


def timm_embedder(
    name: str, embedding_dim: int = 512, pretrained: bool = False, dropout: float = 0.0, **kwargs: Any
) -> TimmEmbedder:
    """The timm model `name` (without the `timm/` prefix) for 112 x 112 crops, with an embedding head.

    pretrained: asks timm's hub for weights. kwargs go to `timm.create_model`. Raises VultusError where the weights
    cannot be had, or where timm refuses an argument.
    """
    import timm

    # Transformers lay out their position tables for one size and must be told ours; other networks take any.
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is not None and config.fixed_input_size:
        kwargs.setdefault("img_size", CROP)
    if pretrained and config is not None and not config.has_weights:
        raise VultusError(f"timm/{name} has no pretrained weights; leave pretrained out, or name a tag that has them")
    try:
        backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, **kwargs)
    except (OSError, RuntimeError, ImportError) as error:
        # huggingface_hub's offline, connection and missing-file errors are all OSError; timm's own are RuntimeError.
        if pretrained:
            raise VultusError(
                f"could not download the weights of timm/{name} ({_first_line(error)}); run where the hub is "
                "reachable, or pass pretrained=false, or load a weights file"
            ) from error
        raise VultusError(f"timm/{name}: timm refuses to build it ({_first_line(error)})") from error
    except (TypeError, ValueError, AssertionError) as error:
        raise VultusError(
            f"timm/{name}: refuses these options, or {CROP} x {CROP} crops ({_first_line(error)})"
        ) from error
    return TimmEmbedder(backbone, _pooled_width(name, backbone), embedding_dim, dropout)


def _pooled_width(name: str, backbone: nn.Module) -> int:
    # Asked of the network itself: `num_features` leaves out what some widen after pooling, and a few (MaxViT's windows,
    # CoAtNet's position biases) only fail once they see a crop.
    training = backbone.training
    try:
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(1, 3, CROP, CROP))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise VultusError(f"timm/{name} cannot work on {CROP} x {CROP} crops ({_first_line(error)})") from error
    if features.ndim != 2:
        raise VultusError(f"timm/{name} gives features of shape {tuple(features.shape)}; a pooled vector is needed")
    backbone.train(training)
    return features.shape[1]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
