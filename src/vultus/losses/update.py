"""SGD with momentum on a chunk of centres, the moment its gradient exists."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus.errors import VultusError


class UpdateInBackward(nn.Module):
    """Momentum m = momentum * m + g + weight_decay * W; W = W - lr * m, as torch's SGD, row by row within backward.

    W and m are all that is ever held: no (C, D) gradient. In exchange the step cannot be taken back, so gradients can
    be neither accumulated over batches, nor clipped together, nor unscaled: backward runs once for every step. `lr`
    must be set before each backward. W itself is frozen for other optimisers.
    """

    def __init__(self, weight: nn.Parameter, *, lr: float, momentum: float = 0.9, weight_decay: float = 5e-4) -> None:
        super().__init__()
        if not (lr >= 0 and 0 <= momentum < 1 and weight_decay >= 0):
            raise VultusError(
                f"update in backward: lr={lr}, momentum={momentum}, weight_decay={weight_decay}; "
                "must be 0 or more, the momentum below 1"
            )
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        weight.requires_grad_(False)
        self._weight = (weight,)  # in a tuple: not a second parameter of this module
        self.register_buffer("velocity", torch.zeros_like(weight))
        self.velocity: Tensor
        self.squares: Tensor = torch.zeros(())
        """Sum of the squared gradients of the last backward, for logging."""

    def begin(self) -> None:
        self.squares = torch.zeros((), device=self.velocity.device)

    @torch.no_grad()
    def __call__(self, rows: slice, gradient: Tensor) -> None:
        """Take the gradient (n, D) of these rows; it is overwritten."""
        self.squares += gradient.square().sum()
        weight, velocity = self._weight[0].data[rows], self.velocity[rows]
        if self.weight_decay:
            gradient.add_(weight, alpha=self.weight_decay)
        velocity.mul_(self.momentum).add_(gradient)
        weight.sub_(velocity, alpha=self.lr)
