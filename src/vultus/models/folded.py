"""Batch norms that an export had folded away get statistics again, without changing what the network computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

ENOUGH = 512
"""Crops after which the statistics of a layer no longer change much."""


def restore_statistics(network: nn.Module, names: Sequence[str], batches: Iterable[Tensor]) -> None:
    """Measure mean and variance before each norm of `names` and take them out again by its scale and shift.

    In evaluation mode the network computes what it did before; in training mode, where a norm uses its batch's own
    statistics, it now nearly does too, so that the first step of a training does not move the embeddings.

    Args:
        names: modules of `network`, batch norms that pass their input through (`onnx_weights.fill`).
        batches: (B, 3, h, w) normalised crops of the people that will be trained on.
    """
    modules = dict(network.named_modules())
    norms = {name: modules[name] for name in names}
    sums = {name: _Moments() for name in names}
    handles = [norm.register_forward_pre_hook(sums[name].see) for name, norm in norms.items()]
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for handle in handles:
            handle.remove()
        for module in training:
            module.training = True
    for name, norm in norms.items():
        if sums[name].count > 1:
            _give(norm, *sums[name].result())


class _Moments:
    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, torch.zeros(()), torch.zeros(())

    def see(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].detach().transpose(0, 1).flatten(1).double()
        self.count += values.shape[1]
        self.total = self.total + values.sum(1)
        self.squares = self.squares + values.square().sum(1)

    def result(self) -> tuple[Tensor, Tensor]:
        mean = self.total / self.count
        return mean.float(), (self.squares / self.count - mean.square()).clamp_min(0).float()


def _give(norm: nn.Module, mean: Tensor, variance: Tensor) -> None:
    """New statistics, and the affine part that undoes their change."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    if not norm.affine or norm.running_mean is None or norm.running_var is None:
        return  # nothing could undo it
    with torch.no_grad():
        factor = ((variance + norm.eps) / (norm.running_var + norm.eps)).sqrt()
        norm.bias.add_(norm.weight * (mean - norm.running_mean) / (norm.running_var + norm.eps).sqrt())
        norm.weight.mul_(factor)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
