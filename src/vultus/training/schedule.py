"""The learning rate as a pure function of the step, and which parameters decay."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vultus.training.recipe import OptimizerSection, ScheduleSection

if TYPE_CHECKING:
    import torch


def learning_rate(step: int, total: int, base: float, schedule: ScheduleSection) -> float:
    """Rate of optimiser step `step` (from 0) of `total`: linear warm-up to `base`, then down to (nearly) zero.

    Cosine: Loshchilov & Hutter 2017. Polynomial with power 2: the ArcFace reference training.
    """
    warm = round(schedule.warmup * total)
    if step < warm:
        return base * (step + 1) / (warm + 1)
    left = 1 - (step - warm) / max(1, total - warm)  # 1 ... 1/(total - warm)
    if schedule.name == "constant":
        return base
    if schedule.name == "cosine":
        return base * 0.5 * (1 - math.cos(math.pi * left))
    return base * left ** (schedule.power or 2.0)


def make_optimizer(modules: Iterable[torch.nn.Module], section: OptimizerSection) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over the parameters of the modules; one-dimensional ones do not decay.

    Both touch only the sampled rows where the head samples its centres.
    """
    from vultus.losses import RowAdamW, RowSGD

    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": section.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if section.name == "adamw":
        return RowAdamW(groups, lr=section.lr)
    return RowSGD(groups, lr=section.lr, momentum=momentum_of(section))


def momentum_of(section: OptimizerSection) -> float:
    """SGD's momentum, 0.9 unless given."""
    return 0.9 if section.momentum is None else section.momentum
