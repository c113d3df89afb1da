"""The targets: B products among B x C, taken apart from the rest because the margin acts on them alone."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus.losses.walk.reduction import Reduction
from vultus.losses.walk.weigh import inverse_lengths


def target_products(
    x: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, task: Reduction
) -> tuple[Tensor, Tensor]:
    """Products of (B, D) embeddings with their own classes' centres, in full precision, and which rows of W gave them.

    Both (B,). The largest of K sub-centres; 0 and row 0 for label -1.
    """
    own = labels.clamp_min(0)
    rows = own * task.subcenters
    if task.subcenters > 1:
        each = rows[:, None] + torch.arange(task.subcenters, device=rows.device)
        centers = weight[each]  # (B, K, D)
        products = (centers @ x.unsqueeze(2)).squeeze(2)
        if task.normalized:
            products = products * inverse_lengths(centers.flatten(0, 1)).view_as(products)
        best = products.argmax(1, keepdim=True)
        rows, target = each.gather(1, best).squeeze(1), products.gather(1, best).squeeze(1)
    else:
        centers = weight[rows]
        target = (x * centers).sum(1)
        if task.normalized:
            target = target * inverse_lengths(centers)
    if bias is not None:
        target = target + bias[own]
    return target.masked_fill(labels < 0, 0), rows


class Targets:
    """Which rows of the batch have their target in which chunk of `chunk` classes."""

    def __init__(self, labels: Tensor, classes: int, chunk: int) -> None:
        self.labels, self.chunk = labels, chunk
        self.order = torch.argsort(labels)
        edges = torch.arange(0, classes + chunk, chunk, device=labels.device, dtype=labels.dtype)
        self.cuts: list[int] = torch.searchsorted(labels[self.order], edges).tolist()

    def within(self, span: slice) -> tuple[Tensor, Tensor]:
        """Rows of the batch, and columns of the chunk."""
        number = span.start // self.chunk
        rows = self.order[self.cuts[number] : self.cuts[number + 1]]
        return rows, self.labels[rows] - span.start
