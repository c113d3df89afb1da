"""The reduction over all other classes. Engines differ in memory and speed and must agree in values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# (embeddings (B, D), centres (C, D), bias (C,) or None, labels (B,) int64, scale, normalized) -> (target, others)
#   target (B,): x . W_y (+ b_y), without the scale;  others (B,): logsumexp over j != y of scale * (x . W_j (+ b_j)).
# Embeddings come as they should be multiplied (unit rows for the normalised losses); centres come raw, and an engine
# normalises them itself where `normalized` asks for it. Both results are differentiable in all three tensors.
Engine = Callable[[Tensor, Tensor, Tensor | None, Tensor, float, bool], tuple[Tensor, Tensor]]


def dense(
    embeddings: Tensor, centers: Tensor, bias: Tensor | None, labels: Tensor, scale: float, normalized: bool
) -> tuple[Tensor, Tensor]:
    """Materialise the (B, C) logits once: the fastest way for few classes, and the reference for other engines.

    The target is left out inside the reduction. Taking it out of the whole sum afterwards would cancel where the
    sample is solved, which is exactly where the loss still has something to say.
    """
    rows = F.normalize(centers, dim=1) if normalized else centers
    scaled_bias = None if bias is None else bias * scale
    logits = F.linear(embeddings * scale, rows, scaled_bias)
    # Indexing, not gather: gather would keep the logits for backward, and they are overwritten in place.
    target = logits[torch.arange(len(labels), device=labels.device), labels] / scale
    others = logits.scatter_(1, labels.unsqueeze(1), -torch.inf).logsumexp(1)
    return target, others


ENGINES: dict[str, Engine] = {"dense": dense}
