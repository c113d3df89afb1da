"""InsightFace's MobileFaceNets: wider than the paper's (Chen et al. 2018, arXiv 1804.07573) at the same cost a channel.

Modules carry the names of arcface_torch's `mobilefacenet.py` (`mbf` and `mbf_large` there).
"""

from __future__ import annotations

from torch import Tensor, nn

HIDDEN = (128, 128, 256, 256)
"""Channels of the depthwise convolutions in the repeats on each grid, whatever the scale; see `DOWN_HIDDEN`."""
DOWN_HIDDEN = (128, 256, 512)
"""The same in the blocks that halve the grid."""


class ConvNorm(nn.Module):
    """Convolution without bias that keeps the grid unless it has a stride, BN, and PReLU unless `linear`."""

    def __init__(
        self, width_in: int, width: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        # The 7 x 7 head meets a 7 x 7 grid and takes no padding.
        padding = 0 if kernel == 7 else kernel // 2
        conv = nn.Conv2d(width_in, width, kernel, stride, padding, groups=groups, bias=False)
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(width), *([] if linear else [nn.PReLU(width)]))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class InvertedResidual(nn.Module):
    """1x1 to `hidden` channels, 3x3 depthwise, linear 1x1 projection; a shortcut if `residual`."""

    def __init__(self, width_in: int, width: int, hidden: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(width_in, hidden, 1),
            ConvNorm(hidden, hidden, 3, stride, groups=hidden),
            ConvNorm(hidden, width, 1, linear=True),
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class Repeats(nn.Module):
    """Inverted residuals that keep the shape."""

    def __init__(self, width: int, hidden: int, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(InvertedResidual(width, width, hidden, 1, True) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Head(nn.Module):
    """The paper's global depthwise convolution over the 7x7 grid, then a linear layer and BN."""

    def __init__(self, width: int, embedding_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(width, width, 7, groups=width, linear=True),
            nn.Flatten(),
            nn.Linear(width, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class MobileFaceNetInsightFace(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    scale: factor of the paper's channel counts, but not of the hidden ones. blocks: repeats on the four grids; where
    the first is 1, a plain convolution in 64 groups stands in for it.
    """

    def __init__(
        self, embedding_dim: int = 512, *, scale: int = 2, blocks: tuple[int, int, int, int] = (1, 4, 6, 2)
    ) -> None:
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale
        if blocks[0] == 1:
            first: nn.Module = ConvNorm(narrow, narrow, 3, groups=64)
        else:
            first = Repeats(narrow, HIDDEN[0], blocks[0])
        layers: list[nn.Module] = [ConvNorm(3, narrow, 3, 2), first]
        current = narrow
        for width, down, hidden, count in zip((narrow, wide, wide), DOWN_HIDDEN, HIDDEN[1:], blocks[1:], strict=True):
            layers.append(InvertedResidual(current, width, down, 2, False))
            layers.append(Repeats(width, hidden, count))
            current = width
        self.layers = nn.ModuleList(layers)
        self.conv_sep = ConvNorm(current, 512, 1)
        self.features = Head(512, embedding_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them."""
        layers = [*self.layers]
        return [
            ("stem", layers[:2]),
            *((f"stage{i}", layers[2 * i : 2 * i + 2]) for i in (1, 2, 3)),
            ("head", [self.conv_sep, self.features]),
        ]
