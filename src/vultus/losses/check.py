"""What a batch must be, said before it spoils a training."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus.errors import VultusError


def check_batch(embeddings: Tensor, labels: Tensor, dim: int | None, reduction: str = "mean") -> None:
    """Shapes and dtypes: (B, dim) floats and (B,) integers, B at least 1. Costs nothing on a GPU."""
    if reduction not in ("mean", "none"):
        raise VultusError(f'reduction: unknown choice "{reduction}"; use "mean" or "none"')
    wide = embeddings.ndim == 2 and (dim is None or embeddings.shape[1] == dim)
    if not wide or not embeddings.is_floating_point():
        width = "dim" if dim is None else dim
        raise VultusError(
            f"embeddings: expected floats of shape (batch, {width}), got {embeddings.dtype} {tuple(embeddings.shape)}"
        )
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise VultusError(f"labels: expected integers, got {labels.dtype}; give class numbers from 0 on")
    if labels.shape != embeddings.shape[:1] or not len(labels):
        raise VultusError(
            f"labels: expected one for each of {len(embeddings)} embeddings (at least one), "
            f"got shape {tuple(labels.shape)}"
        )


def check_values(embeddings: Tensor, labels: Tensor, num_classes: int) -> None:
    """Labels in 0..C-1, embeddings finite and longer than 0. On a GPU this waits for the device."""
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise VultusError(f"labels: row {row} is {int(labels[row])}, outside 0..{num_classes - 1}")
    check_embeddings(embeddings)


def check_embeddings(embeddings: Tensor) -> None:
    """Finite, and longer than 0."""
    values = embeddings.detach()
    finite = values.isfinite().all(1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        value = float(values[row][~values[row].isfinite()][0])
        raise VultusError(
            f"embeddings: row {row} holds {value}; the network has diverged: "
            "lower optimizer.lr, set optimizer.clip_norm, or train in fp32"
        )
    empty = (values == 0).all(1)
    if empty.any():
        raise VultusError(
            f"embeddings: row {int(empty.nonzero()[0])} has length 0 and so no direction; a network whose last layer "
            "is a ReLU, or weights of 0, does this"
        )
