"""A batch, a loss with known centres, and walks in chunks so small that several are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vultus.losses import MarginLoss, create_loss, list_losses
from vultus.losses.walk import Plan

MARGIN_LOSSES = [name for name in list_losses() if name not in ("triplet", "contrastive")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "margin_loss" in metafunc.fixturenames:
        metafunc.parametrize("margin_loss", MARGIN_LOSSES)


@pytest.fixture
def make() -> Callable[..., tuple[MarginLoss, Tensor, Tensor]]:
    """(name, batch, classes, dim, ...) -> a loss, embeddings not far from their centres, labels.

    Norms lie where AdaFace and MagFace look; angles where every paper's formula holds.
    """

    def build(
        name: str,
        batch: int = 5,
        classes: int = 7,
        dim: int = 6,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        noise: float = 1.0,
        **options: Any,
    ) -> tuple[MarginLoss, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        loss = create_loss(name, dim, classes, **options).to(dtype)
        assert isinstance(loss, MarginLoss)
        shape = loss.centers.weight.shape
        with torch.no_grad():
            loss.centers.weight.copy_(torch.randn(*shape, generator=generator, dtype=torch.float64))
            if loss.centers.bias is not None:
                loss.centers.bias.copy_(torch.randn(classes, generator=generator, dtype=torch.float64))
        labels = torch.randint(classes, (batch,), generator=generator)
        own = loss.centers.weight.detach().double()[labels * loss.margin.subcenters]
        x = 2 * own + noise * torch.randn(batch, dim, generator=generator, dtype=torch.float64)
        if loss.margin.normalized:
            length = 12 + 40 * torch.rand(batch, 1, generator=generator, dtype=torch.float64)
            x = x / x.norm(dim=1, keepdim=True) * length
        return loss, x.to(dtype).requires_grad_(), labels

    return build


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make `cut` walk in chunks of so many classes."""
    import importlib

    module = importlib.import_module("vultus.losses.walk.walk")
    original = module.make_plan

    def use(chunk: int) -> None:
        def plan(engine: str, batch: int, classes: int, width: int, device: torch.device, keep: bool | None) -> Plan:
            made = original(engine, batch, classes, width, device, keep)
            return made if engine == "dense" else Plan(min(chunk, classes), made.keep)

        monkeypatch.setattr(module, "make_plan", plan)

    return use
