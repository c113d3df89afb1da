"""What a backbone is and what it costs, counted on the network itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vultus.models.architectures import NATIVE
from vultus.models.registry import create_model, resolve

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelInfo:
    """One backbone of `list_models`."""

    name: str
    parameters: int
    """All of the embedder's, with the head for `embedding_dim`."""
    macs: int
    """Multiply-accumulates of convolutions, linear layers and attention products for one crop; papers' "FLOPs" are
    these in some and twice these in others."""
    embedding_dim: int
    crop_size: tuple[int, int]
    """(height, width)."""
    about: str
    paper: str
    licence: str
    """Of the known weights, in words."""


def describe_model(name: str, embedding_dim: int | None = None, **options: Any) -> ModelInfo:
    """The facts of a backbone, as `create_model` builds it; its weights are not made.

    embedding_dim: that of the published weights, or 512, unless given. Raises VultusError as `create_model`.
    """
    import torch

    name = resolve(name)
    entry = NATIVE.get(name)
    dim = embedding_dim or (entry.embedding_dim if entry else 512)
    try:
        with torch.device("meta"):
            network = create_model(name, dim, **options)
            macs = count_macs(network, _crop_size(network))
    except (NotImplementedError, RuntimeError):
        # A few of timm's read values while they are built or run, which the meta device does not hold.
        network = create_model(name, dim, **options)
        macs = count_macs(network, _crop_size(network))
    if entry:
        about, paper, licence = entry.about, entry.paper, entry.licence
    else:
        about, paper, licence = _of_timm(network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return ModelInfo(name, parameters, macs, dim, _crop_size(network), about, paper, licence)


def count_macs(network: nn.Module, crop_size: tuple[int, int] = (112, 112)) -> int:
    """Multiply-accumulates of one crop through the network in evaluation mode, on the device of its parameters."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(network.parameters()).device
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, *crop_size, device=device))
    finally:
        for module in training:
            module.training = True
    return counter.get_total_flops() // 2  # torch counts a multiplication and its addition as two


def _crop_size(network: nn.Module) -> tuple[int, int]:
    from vultus.models.crops import preprocessing_of

    return preprocessing_of(network).crop_size


def _of_timm(network: nn.Module) -> tuple[str, str, str]:
    backbone = network.get_submodule("backbone")
    config = getattr(backbone, "pretrained_cfg", None) or {}
    paper = ", ".join(config.get(key, "") for key in ("paper_name", "paper_ids") if config.get(key))
    licence = config.get("license") or "as their page on the hub says"
    return f"timm's {type(backbone).__name__} with an embedding head", paper or "see timm", f"timm's weights: {licence}"
