"""A loss is a margin on one number a sample: the target's cosine becomes the harder target psi(cosine).

To add a loss, write a class of a few lines and put it into `registry.LOSSES`: its constructor's parameters are the
parameters of `create_loss` and of a recipe, `formula` and `source` stand in `vultus losses`, and its docstring says
what the parameters mean and where the defaults come from.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from vultus.errors import VultusError
from vultus.losses.angles import past_pi, turn
from vultus.losses.walk import Negatives
from vultus.losses.walk.reduction import Reducer

MarginGrad = Literal["exact", "detached"]
Amount = Tensor | float
"""A margin: one for the batch, or (B,) for its samples."""


class Margin(nn.Module):
    """psi = cos(factor * theta + angle) - cosine, continued without a jump where the cosine would turn (`angles.turn`).

    A subclass says in `margins` how large angle and cosine are. It is a module so that it may keep statistics (buffers)
    or learn (parameters), and be saved with the loss; it changes its statistics only in training mode.
    """

    formula: ClassVar[str]
    """psi or the whole loss, in one line."""
    source: ClassVar[str]
    """Authors, year, arXiv number."""
    normalized: ClassVar[bool] = True
    """False means raw embeddings and centres, with a bias."""
    scale: ClassVar[float] = 64.0
    """The default s."""
    default_grad: ClassVar[MarginGrad | None] = None
    """None where the choice would change nothing (psi' = 1)."""
    reducer: ClassVar[Reducer] = "logsumexp"

    def __init__(self) -> None:
        super().__init__()
        self.margin_grad: MarginGrad | None = self.default_grad
        self.factor = 1.0
        self.subcenters = 1
        self.over_ranks = True
        """Whether statistics must be gathered from all ranks; False where every rank sees the whole batch."""
        self.past_pi: Tensor | None = None
        """Share of the last batch whose margined angle lay past pi."""

    def prepare(self, num_classes: int, scale: float) -> None:
        """Set what follows from the number of classes and s."""

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        """Additive angle (radians) and additive cosine for (B,) target cosines, detached, and (B,) raw norms."""
        return 0.0, 0.0

    def bend(self, cos: Tensor, angle: Amount, cosine: Amount) -> Tensor:
        """psi (B,) of target cosines with given margins."""
        if self.factor == 1.0 and isinstance(angle, float) and angle == 0.0:
            return cos - cosine
        self.past_pi = past_pi(cos, angle, self.factor).to(cos.dtype).mean()
        return turn(cos, angle, self.factor) - cosine

    def forward(self, cos: Tensor, norm: Tensor) -> Tensor:
        """psi of (B,) target cosines and (B,) raw embedding norms, both at least float32; (B,).

        margin_grad `exact` gives psi's own gradient, `detached` that of the bare cosine. A gradient through the norm,
        where a margin follows it, is the same for both.
        """
        angle, cosine = self.margins(cos.detach(), norm)
        if self.margin_grad == "detached":
            fixed = cos.detach()
            return cos + (self.bend(fixed, angle, cosine) - fixed)
        return self.bend(cos, angle, cosine)

    def negatives(self, target: Tensor) -> Negatives | None:
        """A transform of the products with the other classes, from the (B,) target cosines."""
        return None

    def offset(self, scale: float) -> Tensor | None:
        """A scalar added to every logit of the other classes."""
        return None

    def loss(self, psi: Tensor, others: Tensor, scale: float) -> Tensor:
        """(B,) losses of margined targets and reduced others: cross-entropy, in its stable form."""
        return F.softplus(others - scale * psi)

    def penalty(self, norm: Tensor) -> Tensor | None:
        """(B,) added to the losses, from the raw norms."""
        return None

    def choose_grad(self, margin_grad: str) -> None:
        """Set the gradient; VultusError for an unknown word, or where both choices are the same."""
        if margin_grad not in get_args(MarginGrad):
            raise VultusError(f'margin_grad: unknown choice "{margin_grad}"; use "exact" or "detached"')
        if self.default_grad is None:
            raise VultusError(
                f"margin_grad: {type(self).__name__} has the same gradient exact and detached; leave it out"
            )
        self.margin_grad = margin_grad  # pyright: ignore[reportAttributeAccessIssue]

    def extra_repr(self) -> str:
        plain = {k: v for k, v in vars(self).items() if isinstance(v, (int, float, str)) and k not in _OWN}
        return ", ".join(f"{key}={value}" for key, value in plain.items())


_OWN = {"training", "factor", "subcenters", "over_ranks"}


def checked(name: str, value: float, low: float, high: float, unit: str) -> float:
    """`value` as a float, at least `low` and below `high`; VultusError otherwise (an ArcFace margin of pi has no angle
    left to add to)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < high:
        raise VultusError(f"{name}={value}: must be at least {low:.4g} and below {high:.4g} ({unit})")
    return float(value)


def checked_angle(name: str, value: float, paper: str) -> float:
    """An additive angular margin: radians in [0, pi)."""
    return checked(name, value, 0, math.pi, f"radians; {paper}")
