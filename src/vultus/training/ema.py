"""The network beside the one in training: what is validated, kept as `model` in a checkpoint, and deployed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from vultus.training.lora import merged_state


class Deployed:
    """The network in training itself, or an exponential moving average of its weights.

    After optimiser step t = 1, 2, ... the average is d * average + (1 - d) * weights, with d = min(decay, (1 + t) / (10
    + t)): a short run would otherwise keep its first weights (TensorFlow's ExponentialMovingAverage with num_updates).
    Buffers, batch-norm statistics among them, are copied.
    """

    def __init__(self, training: nn.Module, decay: float | None) -> None:
        self.training, self.decay = training, decay
        self.network = training if decay is None else copy.deepcopy(training).requires_grad_(False)
        """(B, 3, h, w) normalised crops -> (B, D) raw embeddings."""

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """After optimiser step `step`, counted from 1."""
        if self.decay is None:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, now in zip(self.network.parameters(), self.training.parameters(), strict=True):
            average.lerp_(now, 1 - decay)
        for average, now in zip(self.network.buffers(), self.training.buffers(), strict=True):
            average.copy_(now)

    def state(self) -> dict[str, Any]:
        """`model`: the weights to deploy, LoRA merged; `training`, `average`: what resuming needs besides."""
        state: dict[str, Any] = {"model": merged_state(self.network)}
        raw = self.training.state_dict()
        if self.decay is not None:
            state["average"] = self.network.state_dict()
        if self.decay is not None or set(raw) != set(state["model"]):
            state["training"] = raw
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Raises KeyError or RuntimeError where the state is that of another network."""
        self.training.load_state_dict(state.get("training", state["model"]))
        if self.decay is not None:
            self.network.load_state_dict(state["average"])
