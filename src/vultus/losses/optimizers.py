"""Optimisers that touch only the rows that a step has sampled.

torch's SGD lets momentum move, and weight decay shrink, every centre at each step. Here a parameter with a sparse
gradient (a sample of centres) has only the rows of its gradient updated: their weights, their momentum, their decay.
Any other row, and its momentum, stay exactly as they are, and the time of a step follows the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class RowSGD(torch.optim.SGD):
    """torch.optim.SGD, row by row for sparse gradients. Momentum without dampening, or with Nesterov's look ahead."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        sparse = list(_take_sparse(self))
        loss = super().step(closure)
        for parameter, gradient, group in sparse:
            rows, values = gradient.indices()[0], gradient.values()
            values = values.add(parameter[rows], alpha=group["weight_decay"])
            if group["momentum"]:
                state = self.state[parameter]
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                velocity = state["momentum_buffer"][rows].mul_(group["momentum"]).add_(values)
                state["momentum_buffer"][rows] = velocity
                values = values.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
            parameter.index_add_(0, rows, values, alpha=-group["lr"])
            parameter.grad = gradient
        return loss


class RowAdamW(torch.optim.AdamW):
    """torch.optim.AdamW, row by row for sparse gradients; each row counts its own steps."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        sparse = list(_take_sparse(self))
        loss = super().step(closure)
        for parameter, gradient, group in sparse:
            rows, values = gradient.indices()[0], gradient.values()
            state = self.state[parameter]
            if not state:
                state["steps"] = parameter.new_zeros(len(parameter), *[1] * (parameter.ndim - 1))
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            first, second = group["betas"]
            steps = state["steps"][rows] + 1
            mean = state["exp_avg"][rows].lerp_(values, 1 - first)
            square = state["exp_avg_sq"][rows].lerp_(values.square(), 1 - second)
            state["steps"][rows], state["exp_avg"][rows], state["exp_avg_sq"][rows] = steps, mean, square
            change = (mean / (1 - first**steps)) / ((square / (1 - second**steps)).sqrt_() + group["eps"])
            change.add_(parameter[rows], alpha=group["weight_decay"])
            parameter.index_add_(0, rows, change, alpha=-group["lr"])
            parameter.grad = gradient
        return loss


def _take_sparse(optimizer: torch.optim.Optimizer) -> Iterator[tuple[Tensor, Tensor, dict[str, Any]]]:
    """Parameters with a sparse gradient, hidden from the optimiser's own step."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.grad.is_sparse:
                gradient = parameter.grad.coalesce()
                parameter.grad = None
                yield parameter, gradient, group
