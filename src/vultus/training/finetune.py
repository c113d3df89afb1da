"""What fine-tuning changes about a network in training: which parts move, how fast, and what they must stay near."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.files import check_file, parsing
from vultus.formats import MOST_ARRAY
from vultus.models.crops import BATCH, embed_crops
from vultus.training.lora import adaptable, add_lora
from vultus.training.recipe_sections import FinetuneSection

TARGETS = "targets.npy"


class FineTuning:
    """Applies a recipe's `finetune` section to a network, for a new run and a resumed one alike.

    rates: learning rate of each of its trainable parameters, as a share of the recipe's.
    """

    def __init__(self, section: FinetuneSection, network: nn.Module) -> None:
        """Freezes, and adds LoRA. Raises `VultusError` for a key that has no effect on this network."""
        from vultus.models.stages import stages

        self.section, self.network = section, network
        self.parts = [(name, _within(modules)) for name, modules in stages(network)]
        self._frozen = self._count_frozen()
        frozen = [module for _, modules in self.parts[: self._frozen] for module in modules]
        moving = [module for _, modules in self.parts[self._frozen :] for module in modules]
        for parameter in _own(frozen):
            parameter.requires_grad_(False)
        self._fixed = frozen
        if section.lora_rank is not None:
            self._adapt(moving, section.lora_rank)
            self._fixed = list(network.modules())
        if section.freeze_norm is not False:
            self._fixed = [*self._fixed, *(module for module in moving if isinstance(module, _BatchNorm))]
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise VultusError("finetune: nothing of the network is left to train; freeze less")
        self.rates = self._rates()

    def settle(self) -> None:
        """After `train()`: what is fixed goes back to evaluation mode, so that its statistics stay."""
        for module in self._fixed:
            module.training = False

    def describe(self) -> list[str]:
        """What is trained, a line a part."""
        lines = []
        for name, modules in self.parts:
            # LoRA's own modules hang on those of the part
            parameters = list({id(p): p for module in modules for p in module.parameters()}.values())
            moving = sum(p.numel() for p in parameters if p.requires_grad)
            fixed = sum(p.numel() for p in parameters if not p.requires_grad)
            rate = next((self.rates[p] for p in parameters if p in self.rates), None)
            speed = "" if rate in (None, 1.0) else f", learning rate x {rate:.3g}"
            lines.append(f"{name}: {moving:,} parameters trained, {fixed:,} frozen{speed}")
        return lines

    def _count_frozen(self) -> int:
        names = [name for name, _ in self.parts]
        wanted = self.section.freeze
        if wanted is None:
            return 0
        if wanted not in names:
            near = difflib.get_close_matches(wanted, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
            raise VultusError(f"finetune.freeze={wanted}: the network has no such part; {hint}")
        if wanted == names[-1]:
            raise VultusError(
                f"finetune.freeze={wanted} leaves nothing of the network to train; its parts are {', '.join(names)}"
            )
        return names.index(wanted) + 1

    def _adapt(self, moving: list[nn.Module], rank: int) -> None:
        free = {id(module) for module in moving}
        chosen = [module for module in adaptable(self.network) if id(module) in free]
        if not chosen:
            raise VultusError("finetune.lora_rank has no effect: no linear layer or 1x1 convolution is free; remove it")
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        for module in chosen:
            add_lora(module, rank, self.section.lora_alpha)

    def _rates(self) -> dict[nn.Parameter, float]:
        decay, last = self.section.layer_decay, len(self.parts) - 1
        if decay < 1 and last - self._frozen < 1:
            raise VultusError("finetune.layer_decay has no effect: one part of the network trains; set it to 1")
        rates = {parameter: 1.0 for parameter in self.network.parameters() if parameter.requires_grad}
        for index, (_, modules) in enumerate(self.parts):
            for parameter in {p for module in modules for p in module.parameters()} & rates.keys():
                rates[parameter] = decay ** (last - index)
        return rates


class Distillation(nn.Module):
    """Holds embeddings near those of the original network: weight * mean(1 - cos)."""

    def __init__(self, weight: float, targets: np.ndarray) -> None:
        """targets: (N, D) float32 unit embeddings by the original network, a row each crop of the training data."""
        super().__init__()
        self.weight, self._targets = weight, targets
        self.drift = torch.zeros(())
        """mean(1 - cos) of the last batch, detached."""

    def targets(self, rows: Tensor) -> Tensor:
        """(B, D) float32 of (B,) rows of the data, on the CPU."""
        return torch.from_numpy(np.asarray(self._targets[rows.numpy()], np.float32))

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Scalar float32 of (B, D) raw embeddings and (B, D) targets."""
        with torch.autocast(embeddings.device.type, enabled=False):
            unit = nn.functional.normalize(embeddings.float(), dim=1)
            drift = 1 - (unit * targets).sum(1).mean()
        self.drift = drift.detach()
        return self.weight * drift


def embed_all(network: nn.Module, data: FaceDataset, quiet: bool = False) -> np.ndarray:
    """Unit embeddings (N, D) float32 of all crops as they are, in evaluation mode, under a progress bar."""
    from vultus.terminal import track

    starts = range(0, len(data), BATCH)
    parts = [
        embed_crops(network, data.crops(range(s, min(s + BATCH, len(data)))))
        for s in (starts if quiet else track(starts, f"embed {data.title} by the original network"))
    ]
    embeddings = np.concatenate(parts)
    if not np.isfinite(embeddings).all():
        raise VultusError(f"the network to fine-tune gives NaN on {data.title}; its weights are broken")
    return embeddings


def load_targets(folder: Path) -> np.ndarray:
    """What a run with `distill` keeps until it ends, memory-mapped."""
    check_file(folder / TARGETS, MOST_ARRAY)
    with parsing(folder / TARGETS, "array file (.npy)", "start a new run"):
        return np.load(folder / TARGETS, mmap_mode="r", allow_pickle=False)


def _within(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """The modules and all inside them, each once."""
    return list({id(inner): inner for module in modules for inner in module.modules()}.values())


def _own(modules: Iterable[nn.Module]) -> Iterable[nn.Parameter]:
    for module in modules:
        yield from module.parameters(recurse=False)
