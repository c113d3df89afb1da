"""LoRA: the change of a weight as a product of two thin matrices (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """weight -> weight + scale * B A, with A (rank, in) drawn and B (out, rank) zero: the start is no change."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        out, width = weight.flatten(1).shape
        self.scale = scale
        self.down = nn.Parameter(torch.empty(rank, width))
        self.up = nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as the authors' code, and torch's own linear layers

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.scale * (self.up @ self.down)).view_as(weight)


def adaptable(network: nn.Module) -> list[nn.Module]:
    """Linear layers and 1x1 convolutions without groups, as they stand in the network."""
    return [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1)
    ]


def add_lora(module: nn.Module, rank: int, alpha: float | None = None) -> None:
    """Put a low-rank change on the weight of a linear layer or 1x1 convolution; the weight itself is frozen.

    The change is scaled by alpha / rank, 1 unless given. A weight that is itself thinner than `rank` gets its own rank.
    """
    weight: Tensor = module.weight  # type: ignore[assignment]
    weight.requires_grad_(False)
    change = LowRank(weight, min(rank, *weight.flatten(1).shape), 1.0 if alpha is None else alpha / rank)
    parametrize.register_parametrization(module, "weight", change.to(weight.device, weight.dtype))


def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict of the same network without LoRA, its changes added to the weights."""
    state = {}
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if ".parametrizations." not in f".{name}":
                state[name] = value
            elif name.endswith(".original"):
                path, _, rest = f".{name}".rpartition(".parametrizations.")
                module, tensor = network.get_submodule(path.lstrip(".")), rest.removesuffix(".original")
                state[f"{path}.{tensor}".lstrip(".")] = getattr(module, tensor).detach().clone()
    return state
