"""EdgeFace (George et al. 2023, arXiv 2307.01838): EdgeNeXt with a face head and, by choice, low-rank linear layers.

The network is timm's EdgeNeXt (Maaz et al. 2022, arXiv 2206.10589) under the attribute `model`, as in Idiap's code, so
that its checkpoints load unchanged.
"""

from __future__ import annotations

from torch import Tensor, nn

from vultus.errors import VultusError

SIZES = {"xxs": "edgenext_xx_small", "xs": "edgenext_x_small", "s": "edgenext_small", "base": "edgenext_base"}


class LowRankLinear(nn.Module):
    """A linear layer as the product of two of lower rank; the bias is the second's."""

    def __init__(self, width_in: int, width: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width_in, rank, bias=False)
        self.linear2 = nn.Linear(rank, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.linear1(x))


class EdgeFace(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    size: xxs, xs, s or base. gamma: rank of every linear layer, the head's as well, as a share of its smaller side
    (at least 2), in (0, 1]; None leaves the layers whole. Raises VultusError for a gamma outside, and without timm.
    """

    def __init__(self, embedding_dim: int = 512, *, size: str, gamma: float | None = None) -> None:
        super().__init__()
        if gamma is not None and not 0 < gamma <= 1:
            raise VultusError(f"gamma={gamma} must be above 0 and at most 1; EdgeFace has 0.5 and 0.6")
        try:
            import timm
        except ImportError as error:
            raise VultusError('EdgeFace needs the package timm: install vultus with its extra "train"') from error
        self.model = timm.create_model(SIZES[size])
        self.model.reset_classifier(embedding_dim)  # pyright: ignore[reportCallIssue]
        if gamma is not None:
            _factorise(self.model, gamma)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them."""
        model = self.model
        return [
            ("stem", [model.get_submodule("stem")]),
            *((f"stage{i}", [stage]) for i, stage in enumerate(model.get_submodule("stages").children(), start=1)),
            ("head", [model.get_submodule("head")]),
        ]


def _factorise(module: nn.Module, gamma: float) -> None:
    for name, child in [*module.named_children()]:
        if isinstance(child, nn.Linear):
            rank = max(2, int(min(child.in_features, child.out_features) * gamma))
            setattr(module, name, LowRankLinear(child.in_features, child.out_features, rank, child.bias is not None))
        else:
            _factorise(child, gamma)
