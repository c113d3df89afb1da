"""Inception-ResNet-v1 (Szegedy et al. 2016, arXiv 1602.07261), the network of FaceNet's public implementations.

Modules carry the names of timesler/facenet-pytorch, so that its weights load once their classifier (`logits.*`) is
left out. FaceNet itself: Schroff et al. 2015, arXiv 1503.03832.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-3  # of every BN, as in the TensorFlow weights that were converted
Kernel = int | tuple[int, int]


class ConvNorm(nn.Module):
    """Convolution without bias, BN and ReLU; no padding unless `same`."""

    def __init__(self, width_in: int, width: int, kernel: Kernel, stride: int = 1, same: bool = False) -> None:
        super().__init__()
        height, breadth = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, breadth // 2) if same else 0
        self.conv = nn.Conv2d(width_in, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=EPS)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


def _tower(*widths: int, kernels: tuple[Kernel, ...]) -> nn.Sequential:
    """Convolutions in a row that keep the grid, from widths[i] to widths[i + 1] channels."""
    return nn.Sequential(
        *(ConvNorm(a, b, kernel, same=True) for a, b, kernel in zip(widths, widths[1:], kernels, strict=False))
    )


class Residual(nn.Module):
    """x + scale * (branches side by side, through a 1x1 convolution), then ReLU unless `linear`."""

    def __init__(self, width: int, branches: list[nn.Module], joined: int, scale: float, linear: bool = False) -> None:
        super().__init__()
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)
        self.count = len(branches)
        self.conv2d = nn.Conv2d(joined, width, 1)
        self.scale = scale
        self.relu = nn.Identity() if linear else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        side = torch.cat([self.get_submodule(f"branch{i}")(x) for i in range(self.count)], dim=1)
        return self.relu(x + self.scale * self.conv2d(side))


class Reduction(nn.Module):
    """Halves the grid: branches side by side, the last a max-pool."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.count = len(branches) + 1
        for i, branch in enumerate((*branches, nn.MaxPool2d(3, 2))):
            self.add_module(f"branch{i}", branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(f"branch{i}")(x) for i in range(self.count)], dim=1)


def _block35() -> Residual:
    towers = [
        ConvNorm(256, 32, 1),
        _tower(256, 32, 32, kernels=(1, 3)),
        _tower(256, 32, 32, 32, kernels=(1, 3, 3)),
    ]
    return Residual(256, towers, 96, 0.17)


def _block17() -> Residual:
    towers = [ConvNorm(896, 128, 1), _tower(896, 128, 128, 128, kernels=(1, (1, 7), (7, 1)))]
    return Residual(896, towers, 256, 0.10)


def _block8(scale: float = 0.20, linear: bool = False) -> Residual:
    towers = [ConvNorm(1792, 192, 1), _tower(1792, 192, 192, 192, kernels=(1, (1, 3), (3, 1)))]
    return Residual(1792, towers, 384, scale, linear)


class InceptionResNetV1(nn.Module):
    """(B, 3, 160, 160) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    facenet-pytorch's own forward gives unit length. dropout: share of the pooled features, in [0, 1); 0.6 there.
    """

    def __init__(self, embedding_dim: int = 512, dropout: float = 0.6) -> None:
        super().__init__()
        self.conv2d_1a = ConvNorm(3, 32, 3, 2)
        self.conv2d_2a = ConvNorm(32, 32, 3)
        self.conv2d_2b = ConvNorm(32, 64, 3, same=True)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = ConvNorm(64, 80, 1)
        self.conv2d_4a = ConvNorm(80, 192, 3)
        self.conv2d_4b = ConvNorm(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = Reduction(
            ConvNorm(256, 384, 3, 2),
            nn.Sequential(ConvNorm(256, 192, 1), ConvNorm(192, 192, 3, same=True), ConvNorm(192, 256, 3, 2)),
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = Reduction(
            nn.Sequential(ConvNorm(896, 256, 1), ConvNorm(256, 384, 3, 2)),
            nn.Sequential(ConvNorm(896, 256, 1), ConvNorm(256, 256, 3, 2)),
            nn.Sequential(ConvNorm(896, 256, 1), ConvNorm(256, 256, 3, same=True), ConvNorm(256, 256, 3, 2)),
        )
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(5)))
        self.block8 = _block8(scale=1.0, linear=True)
        self.avgpool_1a = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(1792, embedding_dim, bias=False)
        self.last_bn = nn.BatchNorm1d(embedding_dim, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x))))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x)))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        return self.last_bn(self.last_linear(self.dropout(self.avgpool_1a(x).flatten(1))))

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them."""
        return [
            ("stem", [self.conv2d_1a, self.conv2d_2a, self.conv2d_2b]),
            ("stage1", [self.conv2d_3b, self.conv2d_4a, self.conv2d_4b, self.repeat_1]),
            ("stage2", [self.mixed_6a, self.repeat_2]),
            ("stage3", [self.mixed_7a, self.repeat_3, self.block8]),
            ("head", [self.last_linear, self.last_bn]),
        ]
