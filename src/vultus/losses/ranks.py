"""What processes tell each other, with autograd where a gradient must find its way back.

Everything works on ragged batches: ranks may hold different numbers of rows. Without torch.distributed there is one
rank, and nothing is sent.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Group = Any
"""A torch.distributed process group; None is all ranks."""


def world(group: Group = None) -> tuple[int, int]:
    """This process's rank and the number of ranks; (0, 1) where torch.distributed does not run."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(group), dist.get_world_size(group)


def total(values: Tensor, group: Group = None) -> Tensor:
    """Sum over ranks, without gradient."""
    if world(group)[1] == 1:
        return values
    values = values.detach().clone()
    dist.all_reduce(values, group=group)
    return values


def moments(values: Tensor, over_ranks: bool) -> tuple[Tensor, Tensor, int]:
    """Mean, standard deviation (n - 1) and number of (B,) values, of all ranks together where `over_ranks`."""
    double = values.detach().double()
    sums = torch.stack([torch.ones_like(double).sum(), double.sum(), double.square().sum()])
    if over_ranks:
        sums = total(sums)
    count, first, second = sums
    mean = first / count
    variance = (second - count * mean.square()) / (count - 1).clamp_min(1)
    return mean, variance.clamp_min(0).sqrt(), int(count) if over_ranks and world()[1] > 1 else len(values)


class Exchange:
    """The exchange of one batch: every rank brings its rows, every rank then sees all rows, in the order of ranks."""

    def __init__(self, rows: int, device: torch.device, group: Group = None) -> None:
        self.group = group
        self.rank, self.size = world(group)
        counts = torch.zeros(self.size, dtype=torch.int64, device=device)
        counts[self.rank] = rows
        self.counts: list[int] = total(counts, group).tolist()
        start = sum(self.counts[: self.rank])
        self.own = slice(start, start + rows)

    def total(self, values: Tensor) -> Tensor:
        """Sum over ranks, without gradient."""
        return total(values, self.group)

    def gather(self, rows: Tensor) -> Tensor:
        """(B_r, ...) of each rank -> (sum of B_r, ...), without gradient."""
        if self.size == 1:
            return rows
        padded = rows.new_zeros(max(self.counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in self.counts]
        dist.all_gather(parts, padded, group=self.group)
        return torch.cat([part[:count] for part, count in zip(parts, self.counts)])

    def gather_partial(self, rows: Tensor) -> Tensor:
        """As `gather`, for what every rank uses with its own classes: the ranks' gradients are summed."""
        return _Gather.apply(rows, self, True)  # type: ignore[return-value]

    def gather_whole(self, rows: Tensor) -> Tensor:
        """As `gather`, for what every rank uses alike: each takes its own rows' gradient, which is whole already."""
        return _Gather.apply(rows, self, False)  # type: ignore[return-value]

    def logsumexp(self, others: Tensor) -> Tensor:
        """log of the sum over ranks of exp(others), (B,); minus infinity where no rank has anything."""
        return _LogSumExp.apply(others, self)  # type: ignore[return-value]

    def add(self, others: Tensor) -> Tensor:
        """Sum over ranks, (B,), each rank's gradient its own."""
        return others + (total(others, self.group) - others.detach())

    def shared(self, parameter: Tensor) -> Tensor:
        """A parameter that every rank holds, used with its own classes: the ranks' gradients are summed."""
        return _Shared.apply(parameter, self)  # type: ignore[return-value]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, exchange: Exchange, partial: bool) -> Tensor:
        ctx.exchange, ctx.partial = exchange, partial
        return exchange.gather(rows.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        exchange: Exchange = ctx.exchange
        if ctx.partial:
            gradient = total(gradient, exchange.group)
        return gradient[exchange.own], None, None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, others: Tensor, exchange: Exchange) -> Tensor:
        peak = others.clone()
        if exchange.size > 1:
            dist.all_reduce(peak, dist.ReduceOp.MAX, group=exchange.group)
        level = peak.masked_fill(peak == -torch.inf, 0)
        result = total((others - level).exp(), exchange.group).log() + level
        ctx.save_for_backward(others, result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        others, result = ctx.saved_tensors
        share = torch.where(others > -torch.inf, (others - result).exp(), 0)
        return gradient * share, None


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor, exchange: Exchange) -> Tensor:
        ctx.exchange = exchange
        return parameter.view_as(parameter)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return total(gradient, ctx.exchange.group), None
