"""IR and IR-SE: the residual networks of AdaFace (Kim et al. 2022, arXiv 2204.00964), CVLface and many before them.

They are ArcFace's improved residual networks in another layout: `iresnet` has the one of InsightFace. Modules carry the
names of AdaFace's `net.py`, so that weights of AdaFace and CVLface load once their prefix (`model.`, `net.`) is off.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

from torch import Tensor, nn

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    101: (3, 13, 30, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
STEM = 64
WIDTHS = (64, 128, 256, 512)
BOTTLENECK_WIDTHS = (256, 512, 1024, 2048)
BOTTLENECK_FROM = 152  # depth from which a block is 1x1, 3x3, 1x1
GRID = 7  # a 112 x 112 crop, halved by each of the four stages
REDUCTION = 16


class SqueezeExcite(nn.Module):
    """Channels weighed by a gate on their means (Hu et al. 2018, arXiv 1709.01507); 1x1 convolutions without bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(width, width // REDUCTION, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(width // REDUCTION, width, 1, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.sigmoid(self.fc2(self.relu(self.fc1(self.avg_pool(x)))))


class Block(nn.Module):
    """BN, then convolutions with BN and PReLU between, the last one linear and with the stride; plus the shortcut."""

    def __init__(self, width_in: int, width: int, stride: int, bottleneck: bool, squeeze: bool) -> None:
        super().__init__()
        if width_in == width:
            # No convolution where only the grid shrinks: a max-pool of one pixel takes every second one.
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(shortcut, nn.BatchNorm2d(width))
        hidden = width // 4 if bottleneck else width
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        layers: list[nn.Module] = [nn.BatchNorm2d(width_in)]
        current = width_in
        for i, kernel in enumerate(kernels):
            last = i == len(kernels) - 1
            out = width if last else hidden
            conv = nn.Conv2d(current, out, kernel, stride if last else 1, kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(out)] + ([] if last else [nn.PReLU(out)])
            current = out
        self.res_layer = nn.Sequential(*layers)
        if squeeze:
            self.res_layer.add_module("se_block", SqueezeExcite(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IR(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    AdaFace's own code divides by the norm and returns it beside; here both are left to the loss. The head flattens the
    7 x 7 grid, and its last BN has neither scale nor shift. dropout: share of the flattened features, in [0, 1).
    """

    def __init__(
        self, depth: int, embedding_dim: int = 512, dropout: float = 0.4, squeeze_excite: bool = False
    ) -> None:
        super().__init__()
        bottleneck = depth >= BOTTLENECK_FROM
        widths = BOTTLENECK_WIDTHS if bottleneck else WIDTHS
        self.counts = BLOCKS[depth]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, STEM, 3, padding=1, bias=False), nn.BatchNorm2d(STEM), nn.PReLU(STEM)
        )
        blocks: list[nn.Module] = []
        current = STEM
        for width, count in zip(widths, self.counts, strict=True):
            for i in range(count):
                blocks.append(Block(current, width, 2 if i == 0 else 1, bottleneck, squeeze_excite))
                current = width
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(current),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(current * GRID * GRID, embedding_dim),
            nn.BatchNorm1d(embedding_dim, affine=False),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_layer(self.body(self.input_layer(x)))

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them."""
        blocks = [*self.body]
        cuts = pairwise(accumulate(self.counts, initial=0))
        return [
            ("stem", [self.input_layer]),
            *((f"stage{i}", blocks[start:end]) for i, (start, end) in enumerate(cuts, start=1)),
            ("head", [self.output_layer]),
        ]


def ir(embedding_dim: int = 512, *, depth: int, squeeze_excite: bool = False, dropout: float = 0.4) -> IR:
    """IR, or IR-SE with `squeeze_excite`, of depth 18, 34, 50, 101, 152 or 200."""
    return IR(depth, embedding_dim, dropout, squeeze_excite)
