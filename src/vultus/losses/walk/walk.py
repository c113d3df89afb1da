"""One call for every engine."""

from __future__ import annotations

from torch import Tensor

from vultus.losses.walk.chunks import walk_chunks
from vultus.losses.walk.plan import make_plan
from vultus.losses.walk.reduction import Reduction, Result


def walk(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    task: Reduction,
    *,
    bias: Tensor | None = None,
    offset: Tensor | None = None,
    engine: str = "auto",
    keep: bool | None = None,
) -> Result:
    """Targets and the reduction over the other classes; see `Reduction` for what they are.

    x: (B, D) embeddings as they should be multiplied, so of unit length for the normalised losses; float32 or float64.
    weight: (C * K, D) centres as they are stored, of the same type. labels: (B,) int64 in -1..C-1.
    engine: one of ENGINES. keep: whether the (B, C) weights stay for backward; None decides by memory.
    """
    classes = len(weight) // task.subcenters
    if engine == "triton":
        from vultus.losses.walk.triton import walk_triton

        return walk_triton(x, weight, bias, offset, labels, task)
    plan = make_plan(engine, len(x), classes, weight.shape[1] * task.subcenters, x.device, keep)
    return walk_chunks(x, weight, bias, offset, labels, task, plan)
