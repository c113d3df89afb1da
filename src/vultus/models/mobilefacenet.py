"""MobileFaceNet (Chen et al. 2018, arXiv 1804.07573): a million parameters, made for 112 x 112 faces on phones."""

from __future__ import annotations

from torch import Tensor, nn

# Table 1 of the paper: expansion, channels, repeats, stride of the first repeat.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class ConvNorm(nn.Sequential):
    """Convolution without bias, BN, and PReLU unless `linear`."""

    def __init__(
        self, width_in: int, width: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        # The 7 x 7 head meets a 7 x 7 grid and takes no padding; the others keep the size.
        padding = 0 if kernel == 7 else kernel // 2
        conv = nn.Conv2d(width_in, width, kernel, stride, padding, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(width), *([] if linear else [nn.PReLU(width)]))


class Bottleneck(nn.Module):
    """Inverted residual: 1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut where the shape stays."""

    def __init__(self, width_in: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = width_in * expansion
        self.layers = nn.Sequential(
            ConvNorm(width_in, hidden, 1),
            ConvNorm(hidden, hidden, 3, stride, groups=hidden),
            ConvNorm(hidden, width, 1, linear=True),
        )
        self.residual = stride == 1 and width_in == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileFaceNet(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    Its head is the paper's global depthwise convolution, a 7 x 7 kernel for each channel, because global average
    pooling would forget where on the face a feature lies. The paper's embedding has 128 dimensions.
    width: factor of every channel count but the embedding's, above 0, rounded to a multiple of 8.
    """

    def __init__(self, embedding_dim: int = 512, width: float = 1.0) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(8, round(channels * width / 8) * 8)

        current = scaled(64)
        self.stem = nn.Sequential(ConvNorm(3, current, 3, 2), ConvNorm(current, current, 3, groups=current))
        layers: list[nn.Module] = []
        for expansion, channels, repeats, stride in BOTTLENECKS:
            for i in range(repeats):
                layers.append(Bottleneck(current, scaled(channels), expansion, stride if i == 0 else 1))
                current = scaled(channels)
        self.layers = nn.Sequential(*layers)
        last = scaled(512)
        self.last = ConvNorm(current, last, 1)
        self.gdconv = ConvNorm(last, last, 7, groups=last, linear=True)
        self.fc = nn.Linear(last, embedding_dim, bias=False)
        self.features = nn.BatchNorm1d(embedding_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.layers(self.stem(x)))
        return self.features(self.fc(self.gdconv(x).flatten(1)))
