"""The learning rate as a pure function of the step, and which parameters decay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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


def make_optimizer(
    modules: Iterable[torch.nn.Module],
    section: OptimizerSection,
    rates: Mapping[torch.nn.Parameter, float] | None = None,
    still: Iterable[torch.nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over the parameters of the modules; one-dimensional ones, and `still`, do not decay.

    rates: learning rate of a parameter as a share of the recipe's, 1 where not given; a group has it as `lr_scale`.
    Both optimisers touch only the sampled rows where the head samples its centres.
    """
    from vultus.losses import RowAdamW, RowSGD

    unmoved = {id(parameter) for parameter in still}
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                decays = parameter.ndim > 1 and id(parameter) not in unmoved
                groups.setdefault(((rates or {}).get(parameter, 1.0), not decays), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "weight_decay": 0.0 if spared else section.weight_decay,
            "lr": section.lr * scale,
            "lr_scale": scale,
        }
        for (scale, spared), parameters in sorted(groups.items(), key=lambda item: (-item[0][0], item[0][1]))
    ]
    if section.name == "adamw":
        return RowAdamW(settings, lr=section.lr)
    return RowSGD(settings, lr=section.lr, momentum=momentum_of(section))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of a step, in every group at its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def momentum_of(section: OptimizerSection) -> float:
    """SGD's momentum, 0.9 unless given."""
    return 0.9 if section.momentum is None else section.momentum
