"""The class walk fused for a GPU: the engine `triton`.

Forward is one kernel: products live in registers until they are summed, so of B x C nothing is written, and lengths of
centres come from the same reading of W. Backward goes by chunks of classes: a kernel makes the products again and
writes a chunk's (B, n) gradient; the two products of that with W and with x are the vendor's. Beside the gradient of W,
memory is a chunk and, where W is normalised, one number per centre.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vultus.errors import VultusError
from vultus.losses.walk.plan import make_plan
from vultus.losses.walk.reduction import Reduction, Result
from vultus.losses.walk.targets import Targets, target_products
from vultus.losses.walk.weigh import inverse_lengths, multiply


class Blocks(NamedTuple):
    """How many rows, classes and dimensions a program multiplies at a time, and its warps and loads in flight."""

    rows: int
    classes: int
    width: int
    warps: int
    stages: int


# Chosen so that the compiler fits them into the registers and the shared memory of NVIDIA's generations 8.0 to 12.0;
# their speed is unmeasured. No autotuning: it would run every candidate for each new shape, and hangs the interpreter.
HALF_BLOCKS = Blocks(128, 128, 32, warps=8, stages=3)
FULL_BLOCKS = Blocks(64, 64, 32, warps=8, stages=2)  # float32 has no tensor cores
INTERPRETED_BLOCKS = Blocks(16, 32, 16, warps=1, stages=1)

PROGRAMS = 1024
"""Classes are split until so many programs run forward: some for each of a GPU's 100 to 150 multiprocessors."""
INTERPRETED_PROGRAMS = 3


def walk_triton(
    x: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor | None, labels: Tensor, task: Reduction
) -> Result:
    """Target and others of a `Reduction`, float32 (B,) each. Differentiable once. See `walk` for the arguments."""
    _refuse_what_cannot_be_done({"embeddings": x, "centres": weight, "bias": bias, "offset": offset}, task)
    return _Walk.apply(x, weight, bias, offset, labels, task)  # type: ignore[return-value]


def _refuse_what_cannot_be_done(tensors: dict[str, Tensor | None], task: Reduction) -> None:
    try:
        from vultus.losses.walk import kernels
    except ImportError as error:
        raise VultusError(f'engine "triton" needs the package triton ({error}); use engine "cut"') from error
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if not tensor.is_cuda and not kernels.INTERPRETED:
            raise VultusError(f'engine "triton" needs a GPU ({name}: {tensor.device}); use engine "cut"')
        if tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise VultusError(f'engine "triton" works in float32 ({name}: {kind}); use engine "cut"')
    if task.skip_below:
        raise VultusError('engine "triton" leaves out no chunks: set skip_below to 0, or use engine "cut"')


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Any, offset: Any, labels: Tensor, task: Reduction):
        target, rows = target_products(x, weight, bias, labels, task)
        if task.share is not None:
            target = task.share(target)
        fused = _Fused(x, weight, bias, offset, labels, task, target)
        others, pull = fused.reduce()
        ctx.save_for_backward(x, weight, others, pull, rows, labels)
        ctx.fused = fused
        return target, others

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_target: Tensor, d_others: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, others, pull, rows, labels = ctx.saved_tensors
        fused: _Fused = ctx.fused
        task, bias, offset = fused.task, fused.bias, fused.offset
        lively = others > -torch.inf  # nothing left after filtering: no gradient
        levels = torch.where(lively, others, 0)
        d_target = d_target.masked_fill(labels < 0, 0)
        d_others = torch.where(lively, d_others, 0)
        outer = d_others * task.scale
        pulls = d_target[:, None] * x  # on the targets' centres

        dx = weight[rows] * (d_target * inverse_lengths(weight[rows]) if task.normalized else d_target)[:, None]
        d_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        d_bias = torch.empty_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        targets = Targets(labels, fused.classes, fused.chunk)
        for span in fused.spans():
            members, columns = targets.within(span)
            block = slice(span.start * task.subcenters, span.stop * task.subcenters)
            centers = weight[block]
            gradient, sums = fused.weigh(span, levels, outer, d_bias is not None)
            if d_bias is not None and sums is not None:
                d_bias[span] = sums.index_add_(0, columns, d_target[members])
            if gradient.dtype == dx.dtype:
                dx.addmm_(gradient, centers)
            else:
                dx += multiply(gradient, fused.cast(centers), torch.empty_like(dx))
            if d_weight is not None or task.update is not None:
                out = torch.empty_like(centers) if d_weight is None else d_weight[block]
                multiply(gradient.t(), fused.x, out)
                inverse = None if fused.inverse is None else fused.inverse[block]
                own = rows[members] - block.start
                out.index_add_(0, own, pulls[members] if inverse is None else pulls[members] * inverse[own, None])
                if inverse is not None:
                    along = torch.linalg.vecdot(out, centers).mul_(inverse).mul_(inverse)
                    out.addcmul_(centers, along[:, None], value=-1)
                if task.update is not None:
                    task.update(block, out)
            del gradient  # or the next one would be made beside it
        d_offset = (d_others * pull).sum().view_as(offset) if offset is not None and ctx.needs_input_grad[3] else None
        return dx, d_weight, d_bias, d_offset, None, None


class _Fused:
    """The kernels, with all that one batch gives them."""

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        offset: Tensor | None,
        labels: Tensor,
        task: Reduction,
        target: Tensor,
    ) -> None:
        from vultus.losses.walk import kernels

        self.kernels, self.task = kernels, task
        self.bias, self.offset = bias, offset
        self.x = self.cast(x.detach()).contiguous()
        self.weight, self.labels = weight.detach().contiguous(), labels.contiguous()
        self.classes = len(weight) // task.subcenters
        self.inverse = weight.new_empty(len(weight)) if task.normalized else None  # forward measures it
        self.kind, self.hard, self.parameter = _describe(task, target)
        plan = make_plan("cut", len(x), self.classes, weight.shape[1] * task.subcenters, x.device, keep=False)
        self.chunk = plan.chunk
        half = self.x.dtype != torch.float32
        self.blocks = INTERPRETED_BLOCKS if kernels.INTERPRETED else HALF_BLOCKS if half else FULL_BLOCKS
        if task.subcenters > 1:  # which of them won takes as many registers as the products
            self.blocks = self.blocks._replace(classes=self.blocks.classes // 2)
        self.row_blocks = -(-len(x) // self.blocks.rows)

    def cast(self, tensor: Tensor) -> Tensor:
        return tensor if self.task.products is None else tensor.to(self.task.products)

    def spans(self) -> Iterator[slice]:
        for start in range(0, self.classes, self.chunk):
            yield slice(start, min(start + self.chunk, self.classes))

    def reduce(self) -> tuple[Tensor, Tensor]:
        """others and its derivative by the offset, (B,) each.

        A GPU would idle on one program per block of rows, so several split the classes, and what they find is joined.
        """
        class_blocks = -(-self.classes // self.blocks.classes)
        programs = INTERPRETED_PROGRAMS if self.kernels.INTERPRETED else PROGRAMS
        each = -(-class_blocks * self.row_blocks // programs)
        splits = -(-class_blocks // each)
        totals, sides = self.weight.new_empty(2, splits, len(self.x)).unbind()
        self._launch(
            self.kernels.reduce_classes,
            splits,
            totals=totals,
            sides=sides,
            classes=self.classes,
            share=each * self.blocks.classes,
        )
        if self.task.reducer == "softplus":
            return totals.sum(0), sides.sum(0)
        others = torch.logsumexp(totals.log() + sides, 0)
        return others, torch.ones_like(others)

    def weigh(self, span: slice, levels: Tensor, outer: Tensor, with_sums: bool) -> tuple[Tensor, Tensor | None]:
        """d loss / d (x_i . W_j) of n classes, (B, n * K), and d loss / d p_ij summed over the batch, (n,)."""
        count = span.stop - span.start
        gradient = self.x.new_empty(len(self.x), count * self.task.subcenters)
        sums = self.weight.new_empty(self.row_blocks, count) if with_sums else None
        self._launch(
            self.kernels.weigh_classes,
            -(-count // self.blocks.classes),
            levels=levels,
            outer=outer,
            gradient=gradient,
            sums=sums,
            first=span.start,
            last=span.stop,
        )
        return gradient, None if sums is None else sums.sum(0)

    def _launch(self, kernel: Any, columns: int, **own: Any) -> None:
        """Run a kernel over all blocks of rows and `columns` blocks or splits of classes; `own`: what it alone takes.

        Blocks of rows come first in the grid: they run together and find the same centres in the cache.
        """
        task, blocks = self.task, self.blocks
        with torch.cuda.device_of(self.x):  # Triton launches on the current device
            kernel[(self.row_blocks, columns)](
                x=self.x,
                weight=self.weight,
                inverse=self.inverse,
                bias=None if self.bias is None else self.bias.detach().contiguous(),
                labels=self.labels,
                offset=None if self.offset is None else self.offset.detach(),
                hard=self.hard,
                parameter=self.parameter,
                scale=float(task.scale),
                ceiling=0.0 if task.filter_above is None else float(task.filter_above),
                batch=len(self.x),
                width=self.x.shape[1],
                SUBCENTERS=task.subcenters,
                NORMALIZED=task.normalized,
                SOFTPLUS=task.reducer == "softplus",
                KIND=self.kind,
                FILTERED=task.filter_above is not None,
                BLOCK_B=blocks.rows,
                BLOCK_C=blocks.classes,
                BLOCK_D=blocks.width,
                num_warps=blocks.warps,
                num_stages=blocks.stages,
                **own,
            )


def _describe(task: Reduction, target: Tensor) -> tuple[str, Tensor | None, Tensor | None]:
    """The transform of negatives as the kernels know it: its kind, a number per row (B,) and a number."""
    if task.negatives is None:
        return "none", None, None
    negatives: Any = task.negatives(target)
    kind = getattr(negatives, "kind", type(negatives).__name__)
    if kind == "curricular":
        return kind, negatives.hard.float().contiguous(), _scalar(negatives.t, target)
    if kind == "power":
        return kind, None, _scalar(negatives.exponent, target)
    raise VultusError(f'engine "triton" cannot bend negatives by "{kind}", only by "curricular" and "power"; use "cut"')


def _scalar(value: Tensor | float, like: Tensor) -> Tensor:
    """A number as a 0-dim tensor beside the others, so that the processor need not wait for it."""
    if isinstance(value, Tensor):
        return value.detach().to(like)
    return torch.full((), value, dtype=like.dtype, device=like.device)
