"""The network beside the one in training: what is validated, kept as `model` in a checkpoint, and deployed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from vultus.training.lora import merged_state


class Deployed:
    """The network in training itself, or an exponential moving average of its weights, or a blend with the original.

    After optimiser step t = 1, 2, ... the average is d * average + (1 - d) * weights, with d = min(decay, (1 + t) / (10
    + t)): a short run would otherwise keep its first weights (TensorFlow's ExponentialMovingAverage with num_updates).
    Blended, the deployed weights are (1 - blend) * original + blend * average (WiSE-FT, Wortsman et al. 2022, arXiv
    2109.01903). Buffers, batch-norm statistics among them, are copied.
    """

    def __init__(self, training: nn.Module, decay: float | None, blend: float = 1.0) -> None:
        """training: as it is before its first step, which is the original."""
        self.training, self.decay, self.blend = training, decay, blend
        self._average = training if decay is None else _copy(training)
        self._original = None if blend == 1 else [p.detach().clone() for p in training.parameters()]
        self._network = self._average if blend == 1 else _copy(training)

    @property
    def network(self) -> nn.Module:
        """(B, 3, h, w) normalised crops -> (B, D) raw embeddings."""
        if self._original is not None:
            with torch.no_grad():
                trios = zip(self._network.parameters(), self._original, self._average.parameters(), strict=True)
                for mine, original, average in trios:
                    mine.copy_(original.lerp(average, self.blend))
                for mine, average in zip(self._network.buffers(), self._average.buffers(), strict=True):
                    mine.copy_(average)
        return self._network

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """After optimiser step `step`, counted from 1."""
        if self.decay is None:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, now in zip(self._average.parameters(), self.training.parameters(), strict=True):
            average.lerp_(now, 1 - decay)
        for average, now in zip(self._average.buffers(), self.training.buffers(), strict=True):
            average.copy_(now)

    def state(self) -> dict[str, Any]:
        """`model`: the weights to deploy, LoRA merged; the others are what resuming needs besides."""
        state: dict[str, Any] = {"model": merged_state(self.network)}
        raw = self.training.state_dict()
        if self.decay is not None:
            state["average"] = self._average.state_dict()
        if self._original is not None:
            state["original"] = self._original
        if self.decay is not None or self._original is not None or set(raw) != set(state["model"]):
            state["training"] = raw
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Raises KeyError or RuntimeError where the state is that of another network."""
        self.training.load_state_dict(state.get("training", state["model"]))
        if self.decay is not None:
            self._average.load_state_dict(state["average"])
        if self._original is not None:
            for mine, saved in zip(self._original, state["original"], strict=True):
                mine.copy_(saved)


def _copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).requires_grad_(False)
