"""The class centres: all of them, a sample of them, or one rank's share of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

# arcface_torch and the original ArcFace code draw the centres from N(0, 0.01). Normalised rows lose their length in the
# forward pass, but their gradient is divided by it: the published learning rates belong to this length.
INIT_STD = 0.01


class ClassCenters(nn.Module):
    """(C * K, D) float32 centres W, as stored (never normalised in place), and a (C,) bias or None.

    sample: the share of centres that takes part in a step (Partial FC, An et al. 2021, arXiv 2010.05222): those of the
    batch's classes always, others by chance up to the share. Gradients then are sparse, over the sampled rows only, and
    `optimizers` leaves every other centre and its momentum exactly as they are.
    rank, ranks: this process owns one slice of the classes; the first C mod `ranks` ranks own one class more.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        bias: bool = False,
        subcenters: int = 1,
        sample: float = 1.0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        self.num_classes, self.subcenters, self.sample = num_classes, subcenters, sample
        self.first = rank * (num_classes // ranks) + min(rank, num_classes % ranks)
        self.count = num_classes // ranks + (rank < num_classes % ranks)
        self.weight = nn.Parameter(torch.empty(self.count * subcenters, embedding_dim))
        self.bias = nn.Parameter(torch.empty(self.count)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=INIT_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """The centres and biases of a step, and its (B,) labels among them, -1 for a class of another rank."""
        labels = labels - self.first
        labels = labels.masked_fill((labels < 0) | (labels >= self.count), -1)
        if self.sample == 1:
            return self.weight, self.bias, labels
        owned = labels >= 0
        classes = self.choose(labels[owned].unique())
        labels = torch.where(owned, torch.searchsorted(classes, labels.clamp_min(0)), -1)
        rows = classes
        if self.subcenters > 1:
            rows = (classes[:, None] * self.subcenters + torch.arange(self.subcenters, device=rows.device)).flatten()
        bias = None if self.bias is None else _Rows.apply(self.bias, classes)
        return _Rows.apply(self.weight, rows), bias, labels  # type: ignore[return-value]

    def choose(self, positives: Tensor) -> Tensor:
        """Classes of a step, ascending: `positives` (distinct), and others by chance up to the share, all alike.

        Drawn from torch's global generator, in time that follows the sample and not the number of classes.
        """
        wanted = min(self.count, math.ceil(self.sample * self.count)) - len(positives)
        if wanted <= 0:
            return positives.sort().values
        if wanted * 4 > self.count:
            order = torch.randperm(self.count, device=positives.device)
            others = order[~torch.isin(order, positives)]
        else:
            others = positives[:0]
            while len(others) < wanted:
                drawn = torch.randint(self.count, (2 * wanted,), device=positives.device)
                others = torch.cat([others, drawn[~torch.isin(drawn, positives)]]).unique()
            others = others[torch.randperm(len(others), device=others.device)]
        return torch.cat([positives, others[:wanted]]).sort().values

    def extra_repr(self) -> str:
        dim = self.weight.shape[1]
        text = f"num_classes={self.num_classes}, embedding_dim={dim}, bias={self.bias is not None}"
        if self.count != self.num_classes:
            text += f", classes {self.first}..{self.first + self.count - 1} here"
        return text + (f", sample={self.sample}" if self.sample < 1 else "")


class _Rows(torch.autograd.Function):
    """Distinct, ascending rows of a parameter; its gradient is sparse and holds these rows alone."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = parameter.shape
        return parameter[rows]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return (
            torch.sparse_coo_tensor(rows[None], gradient, ctx.shape, is_coalesced=True, check_invariants=False),
            None,
        )
