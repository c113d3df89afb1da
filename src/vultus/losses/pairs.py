"""Losses that compare the embeddings of a batch with one another, without class centres.

All of them see unit embeddings and their squared Euclidean distances d^2 = 2 - 2 cos, in [0, 4]. They need batches
with several images of an identity (`vultus.data.IdentityBatches`): one that holds no pair to learn from costs 0.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vultus.errors import VultusError
from vultus.losses.check import check_batch, check_embeddings

Mining = Literal["semi_hard", "batch_hard", "batch_all"]

# An embedding shorter than this is divided by it, not by its own length, so that its gradient stays finite.
NORM_FLOOR = 1e-6
# Float32 knows d^2 = 2 - 2 cos to about 2e-7, so a distance below this is rounding.
DISTANCE_FLOOR = 1e-3


class PairLoss(nn.Module):
    """A loss of the distances within a batch. A subclass states it in `measure`.

    Everything runs in float32, under autocast too (float64 where the embeddings are), because half precision cannot
    tell small distances apart. Memory is a few (B, B) matrices.
    """

    formula: ClassVar[str]
    """The loss, in one line."""
    source: ClassVar[str]
    """Authors, year, arXiv number."""

    def __init__(self) -> None:
        super().__init__()
        self.check = False
        """Look for embeddings that are not finite or have no length on a GPU too."""
        self.observed: dict[str, Tensor] = {}
        """0-dim tensors, detached, of the last forward: what `measure` counted; `norm_mean` and `norm_std` of the raw
        embeddings' norms; `target_cos`, the mean cosine of the positive pairs (NaN in a batch without one)."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of (B, D) raw embeddings of any float dtype and (B,) integer labels; scalar, float32 or float64.

        Raises VultusError for wrong shapes or dtypes.
        """
        check_batch(embeddings, labels, None)
        if self.check or embeddings.device.type == "cpu":
            check_embeddings(embeddings)
        with torch.autocast(embeddings.device.type, enabled=False):
            raw = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            unit = F.normalize(raw, dim=1, eps=NORM_FLOOR)
            cos = unit @ unit.T
            same = labels[:, None] == labels
            positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
            squared = (2 - 2 * cos).clamp_min(0)  # rounding puts equal embeddings an ulp below
            loss, counted = self.measure(squared, positive, ~same)
        norm = torch.linalg.vector_norm(raw.detach(), dim=1)
        facts = counted | {
            "norm_mean": norm.mean(),
            "norm_std": norm.std(correction=0),
            "target_cos": torch.where(positive, cos, 0).sum() / positive.sum(),
        }
        self.observed = {name: value.detach().to(loss.dtype) for name, value in facts.items()}
        return loss

    def measure(self, squared: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar loss and what was counted on the way.

        squared: (B, B) squared distances of unit embeddings, float32 or float64. positive, negative: (B, B) bool,
        symmetric: whether two different samples are of one identity, of two. Each may be False everywhere.
        """
        raise NotImplementedError


class Triplet(PairLoss):
    """[d(a, p)^2 - d(a, n)^2 + margin]_+, the mean over the mined triplets of anchor a, positive p and negative n.

    Schroff, Kalenichenko, Philbin 2015 (FaceNet), arXiv 1503.03832: d is the Euclidean distance of unit embeddings.

    margin: squared distance, in (0, 4]; 0.2 from the paper.

    mining, the choice of triplets, made without gradient:

    `semi_hard`   FaceNet's and the default. Every ordered pair of positives is an anchor and its positive; its negative
                  is the nearest of those with d(a, p) < d(a, n) and d(a, n)^2 < d(a, p)^2 + margin, so the hardest that
                  still lies behind the positive. Nothing nearer is taken, because the hardest negatives collapsed the
                  paper's early training. Where there is no such negative the farthest of all is taken; the paper does
                  not say, TensorFlow Addons' TripletSemiHardLoss does it so.
    `batch_hard`  Hermans, Beyer, Leibe 2017, arXiv 1703.07737: every anchor with its farthest positive and its nearest
                  negative. They advise against the square, which is more prone to collapse; it is kept here so that
                  one margin means the same in all three.
    `batch_all`   The same paper's "batch all" without zeros: all triplets, and the mean over those with a loss above 0,
                  so that solved ones do not dilute the rest.

    Observed: `triplets`, how many the mining offered; `active`, the share of these with a loss above 0.
    """

    formula = "[d(a, p)² - d(a, n)² + m]₊"
    source = "Schroff et al. 2015, arXiv 1503.03832"

    def __init__(self, margin: float = 0.2, mining: str = "semi_hard") -> None:
        super().__init__()
        self.margin = _checked("margin", margin, 4, "a squared distance of unit embeddings; FaceNet has 0.2")
        if mining not in get_args(Mining):
            raise VultusError(f'mining: unknown choice "{mining}"; use "semi_hard", "batch_hard" or "batch_all"')
        self.mining: Mining = mining  # pyright: ignore[reportAttributeAccessIssue]

    def measure(self, squared: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.mining == "batch_all":
            return self._batch_all(squared, positive, negative)
        choose = self._semi_hard if self.mining == "semi_hard" else self._batch_hard
        difference, valid = choose(squared, positive, negative)
        losses = F.relu(difference + self.margin)
        return _mean(losses, valid), {"triplets": valid.sum(), "active": _mean((losses > 0).to(losses), valid)}

    def _semi_hard(self, squared: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """d(a, p)^2 - d(a, n)^2 of every anchor (row) and positive (column), and where that is a triplet; (B, B)."""
        ranked, order = _negatives_by_distance(squared, negative)
        # The nearest behind the positive. It may lie beyond the margin; then its loss is 0, as the farthest one's is.
        place = torch.searchsorted(ranked, squared.detach(), right=True)
        farthest = negative.sum(1, keepdim=True) - 1
        place = place.minimum(farthest).clamp_min(0)
        return squared - squared.gather(1, order.gather(1, place)), positive & (farthest >= 0)

    def _batch_hard(self, squared: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """d(a, p)^2 - d(a, n)^2 of every anchor, and where that is a triplet; (B, 1)."""
        farthest = squared.detach().masked_fill(~positive, -math.inf).argmax(1, keepdim=True)
        nearest = squared.detach().masked_fill(~negative, math.inf).argmin(1, keepdim=True)
        valid = positive.any(1, keepdim=True) & negative.any(1, keepdim=True)
        return squared.gather(1, farthest) - squared.gather(1, nearest), valid

    def _batch_all(self, squared: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """All triplets without listing them: with an anchor's negatives in order of distance, the k that are active for
        a positive are the first k, and their losses add up to k * (d(a, p)^2 + margin) - (sum of their d(a, n)^2).
        """
        ranked, order = _negatives_by_distance(squared, negative)
        sums = F.pad(squared.gather(1, order).cumsum(1), (1, 0))  # (B, B + 1): of the nearest 0, 1, 2, ...
        reach = squared + self.margin
        active = torch.searchsorted(ranked, reach.detach())
        total = torch.where(positive, active * reach - sums.gather(1, active), 0).sum()
        active = torch.where(positive, active, 0).sum()
        triplets = (positive.sum(1) * negative.sum(1)).sum()
        return total / active.clamp_min(1), {"triplets": triplets, "active": active / triplets.clamp_min(1)}

    def extra_repr(self) -> str:
        return f"margin={self.margin}, mining={self.mining!r}"


class Contrastive(PairLoss):
    """Mean of d^2 over the positive pairs + mean of [margin - d]_+^2 over the negative pairs.

    Hadsell, Chopra, LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping", without the paper's
    factor 1/2. d is the Euclidean distance of unit embeddings. The paper sums over all pairs; here positives and
    negatives are averaged each on their own, because a batch of P identities with K images has P - 1 times K / (K - 1)
    as many negatives, and their mean over all pairs would hardly feel the positives. A batch without one kind has 0 for
    it.

    margin: distance beyond which a negative pair costs nothing, in (0, 2]; 1.0, an angle of 60 degrees, is the custom
    (the paper's embeddings have no fixed length, so its margins do not carry over).

    sqrt has an infinite slope where two identities coincide: below DISTANCE_FLOOR = 1e-3 (d, not squared) d is replaced
    by its chord d^2 / DISTANCE_FLOOR, at most 2.5e-4 too small; its gradient by a unit embedding is then at most 2
    long, and 0 where they coincide.

    Observed: `pairs`, unordered, positive and negative; `active`, the share of these with a loss above 0.
    """

    formula = "d² of positive pairs, [m - d]₊² of negative pairs"
    source = "Hadsell et al. 2006, CVPR, Dimensionality Reduction by Learning an Invariant Mapping"

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = _checked("margin", margin, 2, "a distance of unit embeddings; 1 is usual")

    def measure(self, squared: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Both orders of a pair are there and cost the same, so the means are those of the unordered pairs.
        apart = F.relu(self.margin - _distance(squared)).square()
        loss = _mean(squared, positive) + _mean(apart, negative)
        pair = positive | negative
        active = _mean((torch.where(positive, squared, apart) > 0).to(squared), pair)
        return loss, {"pairs": pair.sum() // 2, "active": active}

    def extra_repr(self) -> str:
        return f"margin={self.margin}"


def _negatives_by_distance(squared: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's negatives in order of distance, the rest behind them as inf, and their columns; (B, B), detached."""
    return squared.detach().masked_fill(~negative, math.inf).sort(1)


def _distance(squared: Tensor) -> Tensor:
    floor = DISTANCE_FLOOR**2
    # The clamp keeps sqrt'(0) = inf out of the branch that is not taken: inf * 0 would be NaN.
    return torch.where(squared > floor, squared.clamp_min(floor).sqrt(), squared / DISTANCE_FLOOR)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values, 0 with a gradient of 0 where none is."""
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp_min(1)


def _checked(name: str, value: float, high: float, unit: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= high:
        raise VultusError(f"{name}={value}: must be above 0 and at most {high:.4g} ({unit})")
    return float(value)
