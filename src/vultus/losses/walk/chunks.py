"""The class-chunk walk in plain PyTorch: the engines `dense` (one chunk, kept) and `cut` (many).

Forward multiplies a chunk, reduces it and keeps B numbers. Backward multiplies it again, or uses the weights that were
kept. A centre's length is folded into the products of its chunk, so no normalised copy of W ever exists; the gradient
of a normalised row is that of the unit row, without its part along the row, divided by the row's length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vultus.losses.walk.plan import Plan
from vultus.losses.walk.reduction import Negatives, Reduction, Result
from vultus.losses.walk.targets import Targets, target_products
from vultus.losses.walk.weigh import Chunk, inverse_lengths, multiply, spread, weigh


def walk_chunks(
    x: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor | None, labels: Tensor, task: Reduction, plan: Plan
) -> Result:
    """Target and others of a `Reduction`, in the type of the inputs (float32 or float64). Differentiable once."""
    return _Walk.apply(x, weight, bias, offset, labels, task, plan)  # type: ignore[return-value]


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Any, offset: Any, labels: Tensor, task: Reduction, plan: Plan
    ):
        target, rows = target_products(x, weight, bias, labels, task)
        if task.share is not None:
            target = task.share(target)
        walker = _Walker(x, weight, bias, offset, labels, task, plan.chunk)
        if task.negatives is not None:
            walker.negatives = task.negatives(target)
        keep = plan.keep and (any(ctx.needs_input_grad) or task.update is not None)
        total, pull = torch.zeros_like(target), torch.zeros_like(target)
        peak: Tensor | None = None  # the largest logit so far, where exp(z) alone could overflow
        kept: list[Chunk | None] = []
        masses: list[Tensor] = []
        for span in walker.spans():
            chunk = walker.reduce(span, None)
            if chunk.shift is None:
                total += chunk.total
            elif peak is None:
                peak, total = chunk.shift, chunk.total
            else:
                higher = torch.maximum(peak, chunk.shift)
                total = total * (peak - higher).exp_() + chunk.total * (chunk.shift - higher).exp_()
                peak = higher
            if chunk.pull is not None:
                pull += chunk.pull
            if task.skip_below:
                masses.append(chunk.total.log() if chunk.shift is None else chunk.total.log() + chunk.shift)
            if keep:
                kept.append(chunk)
            del chunk  # or the next one would be made beside it
        others = total if task.reducer == "softplus" else total.log() if peak is None else total.log() + peak
        ctx.save_for_backward(x, weight, others, pull, rows, labels)
        ctx.walker, ctx.kept, ctx.masses = walker, kept, masses
        return target, others

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_target: Tensor, d_others: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, others, pull, rows, labels = ctx.saved_tensors
        walker: _Walker = ctx.walker
        task, offset = walker.task, walker.offset
        kept, ctx.kept = ctx.kept, []  # used up in place: another backward computes the weights again
        softmax = task.reducer == "logsumexp"
        lively = others > -torch.inf  # nothing left after filtering: no gradient
        level = torch.where(lively, others, 0)
        d_target = d_target.masked_fill(labels < 0, 0)
        d_others = torch.where(lively, d_others, 0)
        outer = d_others * task.scale
        pulls = d_target[:, None] * x  # on the targets' centres

        dx = weight[rows] * (d_target * inverse_lengths(weight[rows]) if task.normalized else d_target)[:, None]
        d_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        d_bias = torch.empty_like(walker.bias) if walker.bias is not None and ctx.needs_input_grad[2] else None
        for number, span in enumerate(walker.spans()):
            members, columns = walker.targets.within(span)
            block = slice(span.start * task.subcenters, span.stop * task.subcenters)
            if ctx.masses and not len(members) and bool((ctx.masses[number] - level).exp().max() < task.skip_below):
                for gradient, part in ((d_weight, block), (d_bias, span)):
                    if gradient is not None:
                        gradient[part] = 0
                continue
            if kept:
                chunk, kept[number] = kept[number], None
            else:
                chunk = walker.reduce(span, level if softmax else None)
            assert chunk is not None
            factor = outer * (-level if chunk.shift is None else chunk.shift - level).exp() if softmax else outer
            gradient = spread(chunk.weights, chunk.winner, task.subcenters).mul_(factor[:, None])
            inverse = chunk.inverse
            del chunk
            if d_bias is not None:
                of_classes = gradient.view(len(x), -1, task.subcenters).sum((0, 2))
                d_bias[span] = of_classes.index_add_(0, columns, d_target[members])
            if inverse is not None:
                gradient *= inverse
            centers, gradient = weight[block], walker.cast(gradient)
            if gradient.dtype == dx.dtype:
                dx.addmm_(gradient, centers)
            else:
                dx += multiply(gradient, walker.cast(centers), torch.empty_like(dx))
            if d_weight is None and task.update is None:
                continue
            out = torch.empty_like(centers) if d_weight is None else d_weight[block]
            multiply(gradient.t(), walker.x, out)
            if len(members):
                own = rows[members] - block.start
                out.index_add_(0, own, pulls[members] if inverse is None else pulls[members] * inverse[own, None])
            if inverse is not None:
                along = torch.linalg.vecdot(out, centers).mul_(inverse).mul_(inverse)
                out.addcmul_(centers, along[:, None], value=-1)
            if task.update is not None:
                task.update(block, out)
        d_offset = None
        if offset is not None and ctx.needs_input_grad[3]:
            d_offset = (d_others if softmax else d_others * pull).sum().view_as(offset)
        return dx, d_weight, d_bias, d_offset, None, None, None


class _Walker:
    """Chunks of one batch, in order, each from scratch."""

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        offset: Tensor | None,
        labels: Tensor,
        task: Reduction,
        chunk: int,
    ) -> None:
        self.weight, self.bias, self.offset, self.task = weight.detach(), bias, offset, task
        self.negatives: Negatives | None = None
        self.classes, self.chunk = len(weight) // task.subcenters, chunk
        self.targets = Targets(labels, self.classes, chunk)
        self.x = self.cast(x.detach())

    def cast(self, tensor: Tensor) -> Tensor:
        return tensor if self.task.products is None else tensor.to(self.task.products)

    def spans(self) -> Iterator[slice]:
        for start in range(0, self.classes, self.chunk):
            yield slice(start, min(start + self.chunk, self.classes))

    def reduce(self, span: slice, shift: Tensor | None) -> Chunk:
        """Multiply and reduce the classes of a span."""
        task = self.task
        block = self.weight[span.start * task.subcenters : span.stop * task.subcenters]
        products = multiply(self.x, self.cast(block).t(), block.new_empty(len(self.x), len(block)))
        inverse = None
        if task.normalized:
            inverse = inverse_lengths(block)
            products *= inverse
        bias = None if self.bias is None else self.bias.detach()[span]
        offset = None if self.offset is None else self.offset.detach()
        chunk = weigh(products, task, self.negatives, bias, offset, self.targets.within(span), shift)
        chunk.inverse = inverse
        return chunk
