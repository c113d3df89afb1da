"""Whose state dict is this? Names and shapes of the tensors against every architecture that we know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from vultus.errors import VultusError
from vultus.models.architectures import NATIVE
from vultus.models.registry import create_model

Shapes = dict[str, tuple[int, ...]]

OPTIONAL = ("num_batches_tracked", "mask_token")
"""What old files lack and nothing in an embedding depends on: batch norm's counter, ViT's mask in training."""
HEADS = ("head.", "logits.", "classifier.", "margin", "kernel", "weight_activated")
"""Where the class centres of a training run hide; named, so that a reader knows what was left out."""


@dataclass(frozen=True)
class Match:
    """A state dict and the architecture that it fits to the letter."""

    architecture: str
    embedding_dim: int
    prefix: str
    """What stood before every name, as "model." or "module."."""
    unused: tuple[str, ...]
    """Tensors that are no part of the network: class centres, mostly."""

    def take(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's own tensors under its own names."""
        size, unused = len(self.prefix), set(self.unused)
        return {name[size:]: t for name, t in tensors.items() if name.startswith(self.prefix) and name not in unused}


def match_layout(tensors: Mapping[str, Tensor], where: str, only: str | None = None, **options: Any) -> Match:
    """The architecture whose names and shapes these are, its embedding's dimension read from them.

    Args:
        only: the name of the one architecture to try, with its `options` (width).

    Raises:
        VultusError: none fits; it names the nearest layout and the first names or shapes that differ.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    names = [only] if only else _plausible(shapes)
    nearest: tuple[float, str] = (0.0, "")
    for prefix in _prefixes(shapes):
        bare = {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}
        for name in names:
            wanted = _wanted(name, 512, tuple(sorted(options.items())))
            share = len(wanted.keys() & bare.keys()) / len(wanted.keys() | bare.keys())
            if share < 0.5 and not only:
                continue
            dim = _embedding_dim(name, bare, tuple(sorted(options.items())))
            wanted = wanted if dim is None else _wanted(name, dim, tuple(sorted(options.items())))
            problem = _difference(wanted, bare)
            if problem is None:
                extra = bare.keys() - wanted.keys()
                left = [key for key in shapes if not key.startswith(prefix) or key[len(prefix) :] in extra]
                return Match(name, dim or 512, prefix, tuple(left))
            fits = sum(bare.get(key) == shape for key, shape in wanted.items()) / max(len(wanted), 1)
            if fits >= nearest[0]:
                nearest = (fits, f"{fits:.0%} of {name}'s tensors are there, but {problem}")
    if not nearest[1]:
        first = ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:3])
        raise VultusError(f"{where}: no known layout; it begins with {first}; name the architecture if you know it")
    raise VultusError(f"{where}: no known layout fits; the nearest: {nearest[1]}")


def _plausible(shapes: Shapes) -> list[str]:
    """Architectures of the families that share any name with the file: one of each is built, not all."""
    ends = {".".join(name.split(".")[depth:]) for name in shapes for depth in (0, 1, 2)}
    families: dict[tuple[str, str], bool] = {}
    for name, entry in NATIVE.items():
        family = (entry.module, entry.factory)
        if family not in families:
            families[family] = not ends.isdisjoint(_wanted(name, 512, ()))
    return [name for name, entry in NATIVE.items() if families[entry.module, entry.factory]]


def _prefixes(shapes: Shapes) -> list[str]:
    """Nothing first, then what wrappers put in front: each beginning of one or two parts that most names share."""
    counts: dict[str, int] = {}
    for name in shapes:
        parts = name.split(".")
        for depth in (1, 2):
            if len(parts) > depth:
                beginning = ".".join(parts[:depth]) + "."
                counts[beginning] = counts.get(beginning, 0) + 1
    common = sorted((p for p, count in counts.items() if count > len(shapes) / 2), key=lambda p: (p.count("."), p))
    return ["", *common]


def _difference(wanted: Shapes, found: Shapes) -> str | None:
    """The first things that keep a state dict from loading, None where it loads."""
    missing = [name for name in wanted if name not in found and not name.endswith(OPTIONAL)]
    if missing:
        return f"{', '.join(missing[:3])}{f' and {len(missing) - 3} more' if len(missing) > 3 else ''} missing"
    wrong = [name for name, shape in wanted.items() if name in found and found[name] != shape]
    if wrong:
        name = wrong[0]
        return f"{name} has shape {found[name]}, expected {wanted[name]} ({len(wrong)} such)"
    unknown = [name for name in found if name not in wanted and not _is_head(name)]
    return f"{', '.join(unknown[:3])} unknown to it" if unknown else None


def _is_head(name: str) -> bool:
    return any(part in name for part in HEADS)


@lru_cache(maxsize=128)
def _wanted(name: str, dim: int, options: tuple[tuple[str, Any], ...]) -> Shapes:
    with torch.device("meta"):
        network: nn.Module = create_model(name, dim, **dict(options))
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _embedding_dim(name: str, found: Shapes, options: tuple[tuple[str, Any], ...]) -> int | None:
    """Read where two networks of different dimension differ; None where nothing of that place is there."""
    one, other = _wanted(name, 512, options), _wanted(name, 384, options)
    for key in one:
        if key in found and len(found[key]) == len(one[key]):
            for axis, (a, b) in enumerate(zip(one[key], other[key], strict=True)):
                if (a, b) == (512, 384):
                    return found[key][axis]
    return None
