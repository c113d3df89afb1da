"""IResNet: the improved residual network of ArcFace (Deng et al. 2019, arXiv 1801.07698; Duta et al. 2020, 2004.04989).

Modules carry the names of InsightFace's arcface_torch, so that its `backbone.pth` state dicts load unchanged.
"""

from __future__ import annotations

from torch import Tensor, nn

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}
WIDTHS = (64, 128, 256, 512)
GRID = 7  # a 112 x 112 crop, halved by each of the four layers


class Block(nn.Module):
    """BN, 3x3, BN, PReLU, 3x3 with the stride, BN, plus the shortcut; nothing after the sum."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or width_in != width:
            shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(x)) + shortcut


class IResNet(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    The head flattens the 7 x 7 grid instead of pooling it: in an aligned crop a place means a part of the face.
    dropout: share of the flattened features, in [0, 1); 0 as in arcface_torch (the ArcFace paper has 0.4).
    """

    def __init__(self, blocks: tuple[int, int, int, int], embedding_dim: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        inputs = (WIDTHS[0], *WIDTHS[:-1])
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _layer(*sizes) for sizes in zip(inputs, WIDTHS, blocks, strict=True)
        )
        self.bn2 = nn.BatchNorm2d(WIDTHS[-1])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(WIDTHS[-1] * GRID * GRID, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        # A free scale for each dimension would let the loss reweigh the embedding; the reference freezes it at 1.
        self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)  # arcface_torch; the published learning rates belong to it

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn2(x).flatten(1))
        return self.features(self.fc(x))

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them."""
        layers = (self.layer1, self.layer2, self.layer3, self.layer4)
        return [
            ("stem", [self.conv1, self.bn1, self.prelu]),
            *((f"stage{i}", [layer]) for i, layer in enumerate(layers, start=1)),
            ("head", [self.bn2, self.fc, self.features]),
        ]


def _layer(width_in: int, width: int, count: int) -> nn.Sequential:
    return nn.Sequential(Block(width_in, width, 2), *(Block(width, width, 1) for _ in range(count - 1)))


def iresnet(embedding_dim: int = 512, *, depth: int, dropout: float = 0.0) -> IResNet:
    """IResNet of depth 18, 34, 50, 100 or 200."""
    return IResNet(BLOCKS[depth], embedding_dim, dropout)
