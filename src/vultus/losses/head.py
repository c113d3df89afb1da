"""The margin loss: class centres, one margin, one walk over the classes."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vultus.losses.centers import ClassCenters
from vultus.losses.check import check_batch, check_values
from vultus.losses.margins import Margin
from vultus.losses.ranks import Exchange, Group
from vultus.losses.update import UpdateInBackward
from vultus.losses.walk import Reduction, walk


class MarginLoss(nn.Module):
    """loss = softplus(L - s * psi(c)): the cross-entropy of softmax with a margin, in its stable form.

    c = x . W_y is the target's product of embedding and centre (of unit length unless the margin says raw), psi the
    margin, s the scale, L = logsumexp over j != y of s * x . W_j, which a class-chunk walk computes without holding
    the (B, C) logits. (UniFace and SphereFace2 put another function of the same two in its place.) Everything but the
    matrix products runs in float32, under autocast too (float64 where the inputs are), because half precision cannot
    tell cosines near 1 apart.

    engine, keep, products, filter_above, skip_below: see `walk.walk` and `walk.Reduction`.
    update: applies SGD to the centres within backward; their gradient then never exists whole.
    sharded: every rank of `group` owns the slice of classes that `centers` holds, and all ranks' batches are one: the
    loss is the mean over all of them, the same on every rank, and backward must run on every rank. Embeddings get the
    gradient of that mean (DistributedDataParallel, which averages over ranks, then has to be given it times the number
    of ranks).
    check: look for labels out of range, and for embeddings that are not finite or have no length, on a GPU too, where
    it waits for the device. On a CPU that is always done.
    """

    def __init__(
        self,
        centers: ClassCenters,
        margin: Margin,
        scale: float,
        *,
        engine: str = "auto",
        keep: bool | None = None,
        products: torch.dtype | None = None,
        filter_above: float | None = None,
        skip_below: float = 0.0,
        update: UpdateInBackward | None = None,
        sharded: bool = False,
        group: Group = None,
        check: bool = False,
    ) -> None:
        super().__init__()
        self.centers, self.margin, self.update = centers, margin, update
        self.scale, self.engine, self.keep, self.products = scale, engine, keep, products
        self.filter_above, self.skip_below = filter_above, skip_below
        self.sharded, self.group, self.check = sharded, group, check
        margin.over_ranks = not sharded  # a sharded head shows the margin all ranks' rows
        self.observed: dict[str, Tensor] = {}
        """What practitioners watch, of the last batch, 0-dim: mean target cosine (target_cos), what the margin takes
        off it in the mean (margin), share of samples whose margined angle lies past pi (past_pi), mean and deviation of
        the raw norms (norm_mean, norm_std)."""

    def forward(self, embeddings: Tensor, labels: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """Loss of (B, D) raw embeddings of any float dtype and (B,) integer labels in 0..C-1.

        Returns the mean over the batch as a scalar, or the (B,) losses for reduction="none" (of all ranks' batches
        where sharded); float32 or float64. Raises VultusError for wrong shapes, dtypes and values (see `check`).
        """
        weight = self.centers.weight
        check_batch(embeddings, labels, weight.shape[1], reduction)
        if self.check or embeddings.device.type == "cpu":
            check_values(embeddings, labels, self.centers.num_classes)
        with torch.autocast(embeddings.device.type, enabled=False):
            dtype = torch.promote_types(torch.promote_types(embeddings.dtype, weight.dtype), torch.float32)
            losses = self._losses(embeddings.to(dtype), labels.long())
        return losses.mean() if reduction == "mean" else losses

    def _losses(self, raw: Tensor, labels: Tensor) -> Tensor:
        margin = self.margin
        if self.update is not None:
            self.update.begin()
        norm = torch.linalg.vector_norm(raw, dim=1)
        x = F.normalize(raw, dim=1) if margin.normalized else raw
        offset = margin.offset(self.scale)
        exchange = Exchange(len(labels), labels.device, self.group) if self.sharded else None
        if exchange is not None:
            x, norm, labels = exchange.gather_partial(x), exchange.gather_whole(norm), exchange.gather(labels)
            offset = None if offset is None else exchange.shared(offset)
        weight, bias, local = self.centers(labels)
        target, others = walk(
            x,
            weight.to(x.dtype),
            local,
            self._reduction(exchange),
            bias=None if bias is None else bias.to(x.dtype),
            offset=None if offset is None else offset.to(x.dtype),
            engine=self.engine,
            keep=self.keep,
        )
        if exchange is not None:
            others = exchange.logsumexp(others) if margin.reducer == "logsumexp" else exchange.add(others)
        psi = margin(target, norm)
        losses = margin.loss(psi, others, self.scale)
        if (penalty := margin.penalty(norm)) is not None:
            losses = losses + penalty
        self._observe(target.detach(), psi.detach(), norm.detach())
        return losses

    def _reduction(self, exchange: Exchange | None) -> Reduction:
        margin = self.margin
        bends = type(margin).negatives is not Margin.negatives
        return Reduction(
            self.scale,
            normalized=margin.normalized,
            reducer=margin.reducer,
            subcenters=margin.subcenters,
            filter_above=self.filter_above,
            negatives=margin.negatives if bends else None,  # type: ignore[arg-type]
            share=None if exchange is None else exchange.total,
            products=self.products,
            update=None if self.update is None or not torch.is_grad_enabled() else self.update,
            skip_below=self.skip_below,
        )

    def _observe(self, target: Tensor, psi: Tensor, norm: Tensor) -> None:
        deviation, mean = torch.std_mean(norm, correction=0)
        self.observed = {
            "target_cos": target.mean(),
            "margin": (target - psi).mean(),
            "past_pi": self.margin.past_pi if self.margin.past_pi is not None else torch.zeros_like(mean),
            "norm_mean": mean,
            "norm_std": deviation,
        }

    def extra_repr(self) -> str:
        facts: dict[str, Any] = {"scale": self.scale, "engine": self.engine}
        for name in ("keep", "products", "filter_above", "skip_below", "sharded"):
            if value := getattr(self, name):
                facts[name] = value
        return ", ".join(f"{name}={value!r}" for name, value in facts.items())
