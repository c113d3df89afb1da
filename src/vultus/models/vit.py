"""Vision transformer for faces, as InsightFace's arcface_torch trained it on WebFace42M (An et al. 2022, 2203.15565).

It differs from ImageNet's (Dosovitskiy et al. 2021, arXiv 2010.11929): 9 x 9 patches and no class token; the embedding
reads all patches side by side, as a face recogniser's head must know the place. Modules carry arcface_torch's names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vultus.errors import VultusError

PATCH = 9
GRID = 12  # 112 // 9: the last 4 rows and columns of a crop are not seen
TOKENS = GRID * GRID
HEADS = 8
MLP_RATIO = 4
HEAD_EPS = 2e-5
# arcface_torch's: width, depth, and the shares of dropped paths and masked patches
SIZES = {"t": (256, 12, 0.1, 0.1), "s": (512, 12, 0.1, 0.1), "b": (512, 24, 0.1, 0.1), "l": (768, 24, 0.05, 0.05)}


class PatchEmbed(nn.Module):
    """(B, 3, 112, 112) -> (B, 144, width): a linear map of each patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention of (B, N, width) tokens; queries, keys and values without bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        _, tokens, width = x.shape
        qkv = self.qkv(x).reshape(-1, tokens, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.proj(x.transpose(1, 2).reshape(-1, tokens, width))


class Mlp(nn.Module):
    """Two linear layers with ReLU6 between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.act = nn.ReLU6()
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class DropPath(nn.Module):
    """Leaves a residual branch out for a random share of the samples, in training (Huang et al. 2016, 1603.09382)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        kept = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.share
        return x * (kept / (1 - self.share)).to(x.dtype)


class Block(nn.Module):
    """Attention and MLP, each after LayerNorm and with a shortcut."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.drop_path = DropPath(drop_path)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class FaceViT(nn.Module):
    """(B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings, not of unit length.

    drop_path: share of dropped residual branches in the last block, growing linearly from 0. mask_ratio: share of the
    patches that the blocks do not see in training; a learnt token takes their place before the head. Both in [0, 1).
    Raises VultusError for shares outside.
    """

    def __init__(self, width: int, depth: int, embedding_dim: int, drop_path: float, mask_ratio: float) -> None:
        super().__init__()
        for name, share in (("drop_path", drop_path), ("mask_ratio", mask_ratio)):
            if not 0 <= share < 1:
                raise VultusError(f"{name}={share} must be at least 0 and below 1")
        self.mask_ratio = mask_ratio
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, TOKENS, width))
        self.blocks = nn.ModuleList(Block(width, drop_path * i / (depth - 1)) for i in range(depth))
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(
            nn.Linear(width * TOKENS, width, bias=False),
            nn.BatchNorm1d(width, eps=HEAD_EPS),
            nn.Linear(width, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim, eps=HEAD_EPS),
        )
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        order = None
        if self.training and self.mask_ratio > 0:
            order = torch.rand(x.shape[:2], device=x.device).argsort(dim=1)
            x = _pick(x, order[:, : int(TOKENS * (1 - self.mask_ratio))])
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if order is not None:
            masked = self.mask_token.to(x.dtype).expand(x.shape[0], TOKENS - x.shape[1], -1)
            x = _pick(torch.cat([x, masked], dim=1), order.argsort(dim=1))
        return self.feature(x.flatten(1))

    def ordered_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """As `vultus.models.stages` gives them: the blocks in four stages of equal depth."""
        blocks, quarter = [*self.blocks], len(self.blocks) // 4
        return [
            ("stem", [self.patch_embed, nn.ParameterList([self.pos_embed])]),
            *((f"stage{i + 1}", blocks[i * quarter : (i + 1) * quarter]) for i in range(4)),
            ("head", [self.norm, nn.ParameterList([self.mask_token]), self.feature]),
        ]


def _pick(tokens: Tensor, places: Tensor) -> Tensor:
    """(B, N, width) tokens at the (B, M) places of each sample."""
    return tokens.gather(1, places.unsqueeze(2).expand(-1, -1, tokens.shape[2]))


def face_vit(
    embedding_dim: int = 512, *, size: str, drop_path: float | None = None, mask_ratio: float | None = None
) -> FaceViT:
    """FaceViT of size t, s, b or l; drop_path and mask_ratio as arcface_torch has them for the size unless given."""
    width, depth, published_drop, published_mask = SIZES[size]
    drop_path = published_drop if drop_path is None else drop_path
    return FaceViT(width, depth, embedding_dim, drop_path, published_mask if mask_ratio is None else mask_ratio)
