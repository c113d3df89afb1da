"""MobileFaceNet (Chen et al. 2018, arXiv 1804.07573): about a million parameters, made for faces on phones.

Published weights come in three layouts, which differ in names and in details of the arithmetic; each is one class here,
with the names of its origin, so that its weights load unchanged. All end in the paper's global depthwise convolution, a
kernel as large as the grid for each channel, because average pooling would forget where on the face a feature lies.
"""

from __future__ import annotations

from torch import Tensor, nn

# Table 1 of the paper: expansion, channels, repeats, stride of the first repeat.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
STAGES = (5, 7, 3)
"""Bottlenecks on one grid: a stage ends where the next one halves it."""


class ConvNorm(nn.Module):
    """Convolution without bias, BN, and PReLU unless `linear`."""

    def __init__(
        self,
        width_in: int,
        width: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(width)
        if not linear:
            self.prelu = nn.PReLU(width)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if self.linear else self.prelu(x)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut where the shape stays.

    relu6: that activation in place of PReLU, and each convolution with its BN and activation one level deeper.
    """

    def __init__(self, width_in: int, width: int, expansion: int, stride: int, relu6: bool = False) -> None:
        super().__init__()
        hidden = width_in * expansion
        expand = nn.Conv2d(width_in, hidden, 1, bias=False)
        depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        project = nn.Conv2d(hidden, width, 1, bias=False)
        layers: list[nn.Module] = []
        for conv in (expand, depthwise):
            norm = nn.BatchNorm2d(hidden)
            layers += [nn.Sequential(conv, norm, nn.ReLU6())] if relu6 else [conv, norm, nn.PReLU(hidden)]
        self.conv = nn.Sequential(*layers, project, nn.BatchNorm2d(width))
        self.residual = stride == 1 and width_in == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileFaceNet(nn.Module):
    """(B, 3, H, W) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    The paper's network, in the layout of Xiaoccer/MobileFaceNet_Pytorch. The paper's embedding has 128 dimensions.
    width: factor of every channel count but the embedding's, above 0, rounded to a multiple of 8. crop_size: (height,
    width), each a multiple of 16.
    """

    def __init__(
        self, embedding_dim: int = 512, width: float = 1.0, *, crop_size: tuple[int, int] = (112, 112)
    ) -> None:
        super().__init__()
        first, last = _scaled(64, width), _scaled(512, width)
        self.conv1 = ConvNorm(3, first, 3, 2, 1)
        self.dw_conv1 = ConvNorm(first, first, 3, 1, 1, groups=first)
        self.blocks, current = _bottlenecks(first, width)
        self.conv2 = ConvNorm(current, last, 1)
        self.linear7 = ConvNorm(last, last, (crop_size[0] // 16, crop_size[1] // 16), groups=last, linear=True)
        self.linear1 = ConvNorm(last, embedding_dim, 1, linear=True)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.blocks(self.dw_conv1(self.conv1(x))))
        return self.linear1(self.linear7(x)).flatten(1)

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them."""
        return _parts([self.conv1, self.dw_conv1], self.blocks, [self.conv2, self.linear7, self.linear1])


class MobileFaceNetReLU6(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    The layout of foamliu/MobileFaceNet: ReLU6 as in MobileNetV2 (ReLU in the separable convolution), a pointwise
    convolution in the stem, and a bias before the last BN. Its published embedding has 128 dimensions.
    """

    def __init__(self, embedding_dim: int = 512) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU6())
        self.dw_conv = SeparableConv(64)
        self.features, current = _bottlenecks(64, relu6=True)
        self.conv2 = nn.Sequential(nn.Conv2d(current, 512, 1, bias=False), nn.BatchNorm2d(512), nn.ReLU6())
        self.gdconv = GlobalDepthwiseConv(512)
        self.conv3 = nn.Conv2d(512, embedding_dim, 1)
        self.bn = nn.BatchNorm1d(embedding_dim)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.features(self.dw_conv(self.conv1(x))))
        return self.bn(self.conv3(self.gdconv(x)).flatten(1))

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them."""
        return _parts([self.conv1, self.dw_conv], self.features, [self.conv2, self.gdconv, self.conv3, self.bn])


class SeparableConv(nn.Module):
    """3x3 depthwise and 1x1 convolution, each with BN and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.depthwise(x)))
        return self.relu(self.bn2(self.pointwise(x)))


class GlobalDepthwiseConv(nn.Module):
    """A 7x7 kernel for each channel of a 7x7 grid, and BN."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, groups=width, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.depthwise(x))


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)


def _bottlenecks(current: int, width: float = 1.0, relu6: bool = False) -> tuple[nn.Sequential, int]:
    blocks: list[nn.Module] = []
    for expansion, channels, repeats, stride in BOTTLENECKS:
        for i in range(repeats):
            out = _scaled(channels, width)
            blocks.append(InvertedResidual(current, out, expansion, stride if i == 0 else 1, relu6))
            current = out
    return nn.Sequential(*blocks), current


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _parts(stem: list[nn.Module], blocks: nn.Sequential, head: list[nn.Module]) -> list[tuple[str, list[nn.Module]]]:
    rest = [*blocks]
    parts = [("stem", stem)]
    for i, count in enumerate(STAGES, start=1):
        parts.append((f"stage{i}", rest[:count]))
        rest = rest[count:]
    return [*parts, ("head", head)]
