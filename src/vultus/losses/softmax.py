"""The margin softmax: class centres, one margin, one engine."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vultus.errors import VultusError
from vultus.losses.engines import ENGINES
from vultus.losses.margins import Margin

# arcface_torch and the original ArcFace code draw the centres from N(0, 0.01). Normalised rows lose their length in the
# forward pass, but their gradient is divided by it: the published learning rates belong to this length.
INIT_STD = 0.01


class ClassCenters(nn.Module):
    """The (C, D) float32 class centres W, as stored (never normalised in place), and a (C,) bias or None."""

    def __init__(self, num_classes: int, embedding_dim: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_dim))
        self.bias = nn.Parameter(torch.empty(num_classes)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=INIT_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        classes, dim = self.weight.shape
        return f"num_classes={classes}, embedding_dim={dim}, bias={self.bias is not None}"


class MarginSoftmax(nn.Module):
    """loss = softplus(L - s * psi(c)): the cross-entropy of softmax with a margin, in its stable form.

    c = x . W_y is the target's product of embedding and centre (of unit length unless the margin says raw), psi the
    margin, s the scale, L = logsumexp over j != y of s * x . W_j. Everything runs in float32, under autocast too
    (float64 where the inputs are), because half precision cannot tell cosines near 1 apart.
    """

    def __init__(self, centers: ClassCenters, margin: Margin, scale: float, engine: str = "dense") -> None:
        super().__init__()
        self.centers = centers
        self.margin = margin
        self.scale = scale
        self.engine = engine

    def forward(self, embeddings: Tensor, labels: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """Loss of (B, D) raw embeddings of any float dtype and (B,) integer labels in 0..C-1.

        Returns the mean over the batch as a scalar, or the (B,) losses for reduction="none"; float32 or float64, at
        least 0. Raises VultusError for wrong shapes or dtypes, and for a label out of range on the CPU (on a GPU the
        look would wait for the device; there the indexing itself fails).
        """
        if reduction not in ("mean", "none"):
            raise VultusError(f'reduction: unknown choice "{reduction}"; use "mean" or "none"')
        weight, bias = self.centers.weight, self.centers.bias
        _check_batch(embeddings, labels, *weight.shape)
        with torch.autocast(embeddings.device.type, enabled=False):
            dtype = torch.promote_types(torch.promote_types(embeddings.dtype, weight.dtype), torch.float32)
            raw = embeddings.to(dtype)
            norm = torch.linalg.vector_norm(raw, dim=1)
            x = F.normalize(raw, dim=1) if self.margin.normalized else raw
            target, others = ENGINES[self.engine](
                x,
                weight.to(dtype),
                None if bias is None else bias.to(dtype),
                labels.long(),
                self.scale,
                self.margin.normalized,
            )
            losses = F.softplus(others - self.scale * self.margin(target, norm))
        return losses.mean() if reduction == "mean" else losses

    def extra_repr(self) -> str:
        return f"scale={self.scale}, engine={self.engine!r}"


def _check_batch(embeddings: Tensor, labels: Tensor, num_classes: int, dim: int) -> None:
    if embeddings.ndim != 2 or embeddings.shape[1] != dim or not embeddings.is_floating_point():
        raise VultusError(
            f"embeddings: expected floats of shape (batch, {dim}), got {embeddings.dtype} {tuple(embeddings.shape)}"
        )
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise VultusError(f"labels: expected integers, got {labels.dtype}; give class numbers 0..{num_classes - 1}")
    if labels.shape != embeddings.shape[:1] or not len(labels):
        raise VultusError(
            f"labels: expected one for each of {len(embeddings)} embeddings (at least one), "
            f"got shape {tuple(labels.shape)}"
        )
    if labels.device.type == "cpu":
        wrong = (labels < 0) | (labels >= num_classes)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise VultusError(f"labels: row {row} is {int(labels[row])}, outside 0..{num_classes - 1}")
