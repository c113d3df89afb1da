"""Norms and clipping of gradients, dense and sparse."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def gradient_norm(parameters: Iterable[torch.nn.Parameter], more: torch.Tensor | None = None) -> torch.Tensor:
    """Euclidean norm of all gradients together, 0-dim; `more` is a sum of squares to add."""
    squares = [torch.zeros(()) if more is None else more.float()]
    for parameter in parameters:
        if parameter.grad is not None:
            values = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
            squares.append(torch.linalg.vector_norm(values, dtype=torch.float32).square())
    return torch.stack([square.to(squares[-1].device) for square in squares]).sum().sqrt()


def scale_gradients(parameters: Iterable[torch.nn.Parameter], factor: torch.Tensor) -> None:
    """Multiply all gradients in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
                parameter.grad.values().mul_(factor.to(parameter.device))
            else:
                parameter.grad.mul_(factor.to(parameter.device))
