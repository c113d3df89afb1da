"""TinyResNet: a small residual network that learns fast by the second on a CPU, for demos and tests."""

from __future__ import annotations

from torch import Tensor, nn

PATCH = 4
GRID = 7


class Block(nn.Module):
    """Two 3x3 convolutions, BN and PReLU, with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class TinyResNet(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    A patchwise stem at stride 4, then residual stages on 28, 14 and 7 squared of plain 3x3 convolutions, which a CPU
    runs and differentiates far faster for their arithmetic than depthwise ones; the head flattens the 7 x 7 grid, as
    IResNet's does. widths, blocks: channels and residual blocks of the three stages. The defaults are chosen
    for steps a second: among six variants trained for one CPU minute (one seed, no intervals) the cheap ones led the
    wider and deeper ones, but not each other.
    """

    def __init__(
        self,
        embedding_dim: int = 512,
        widths: tuple[int, int, int] = (32, 64, 128),
        blocks: tuple[int, int, int] = (0, 1, 1),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_down(3, widths[0], 7, PATCH, 3)]
        self.starts = [0]
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if i:
                self.starts.append(len(layers))
                layers += _down(widths[i - 1], width, 3, 2, 1)
            layers += [Block(width) for _ in range(count)]
        self.layers = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1] * GRID * GRID, embedding_dim, bias=False)
        self.features = nn.BatchNorm1d(embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(self.fc(self.norm(self.layers(x)).flatten(1)))

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them; the patchwise stem belongs to the first stage."""
        layers = [*self.layers]
        ends = [*self.starts[1:], len(layers)]
        cut = [layers[start:end] for start, end in zip(self.starts, ends, strict=True)]
        return [
            *((f"stage{i}", part) for i, part in enumerate(cut, start=1)),
            ("head", [self.norm, self.fc, self.features]),
        ]


def _down(width_in: int, width: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    conv = nn.Conv2d(width_in, width, kernel, stride, padding, bias=False)
    return [conv, nn.BatchNorm2d(width), nn.PReLU(width)]
