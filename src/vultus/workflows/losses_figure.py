"""The classic figure: what each loss makes of the target's angle, and how strongly it pulls."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from vultus.errors import VultusError
from vultus.files import save_atomically

LINES: list[tuple[str, str, dict[str, float]]] = [
    ("normface", "normface, and every negative: cos θ", {}),
    ("cosface", "cosface, elasticface_cos (mean)", {}),
    ("uniface", "uniface", {}),
    ("arcface", "arcface, subcenter_arcface, curricularface,\nelasticface_arc (mean)", {}),
    ("combined", "combined", {}),
    ("sphereface", "sphereface", {}),
    ("sphereface_r", "sphereface_r", {}),
    ("sphereface2", "sphereface2", {}),
    ("adaface", "adaface, low quality", {"norm": 5.0}),
    ("adaface", "adaface, high quality", {"norm": 50.0}),
    ("magface", "magface, norm 110", {"norm": 110.0}),
]
"""Loss, label, and the raw norm where the margin follows it. Losses that coincide share a line."""


def write_losses_figure(path: str | Path) -> Path:
    """Write a PNG: psi over the angle, and its exact gradient d psi / d cos, for all margin losses at their defaults.

    Plain softmax has no angle of its own (its embeddings are raw) and is left out.

    Raises VultusError for a name that does not end in .png.
    """
    import torch

    from vultus.evaluation.figures.style import INK, SERIES, new_figure, to_png

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise VultusError(f"{path}: the figure is a PNG; choose a name that ends in .png")
    figure, (left, right) = new_figure(12.6, 5.4, "Target logit and its gradient, default parameters", columns=2)
    angles = torch.linspace(math.radians(0.5), math.radians(179.5), 719, dtype=torch.float64)
    degrees = [math.degrees(angle) for angle in angles.tolist()]
    for number, (name, label, facts) in enumerate(LINES):
        margin = _margin(name)
        cos = angles.cos().requires_grad_()
        psi = margin(cos, torch.full_like(cos, facts.get("norm", 20.0)))
        (slope,) = torch.autograd.grad(psi.sum(), cos)
        # a colour for each loss, a new dash for each turn through the colours
        style = {"color": SERIES[number % 7], "lw": 1.7, "ls": ("-", (0, (4, 1.6)))[number // 7]}
        left.plot(degrees, psi.detach().tolist(), label=label, **style)
        right.plot(degrees, slope.clamp_min(1e-9).tolist(), **style)
    detached = "detached gradient, the default of\narcface, subcenter_arcface, combined,\nsphereface, sphereface_r"
    right.axhline(1, color=INK, lw=2.2, ls=(0, (1, 1.5)), zorder=5, label=detached)
    left.set_ylabel("ψ(θ), the target logit before the scale s")
    right.set_ylabel("exact gradient dψ / d cos θ, log scale")
    right.set_yscale("log")
    right.set_ylim(0.03, 100)
    for axes in (left, right):
        axes.set_xlabel("angle θ between embedding and its own centre, degrees")
        axes.set_xlim(0, 180)
        axes.set_xticks(range(0, 181, 30))
    figure.legend(loc="outside right center", fontsize=9, frameon=False, labelcolor=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_atomically(to_png(figure), path)
    return path


def _margin(name: str) -> Any:
    from vultus.losses import create_loss, describe_loss

    exact = "exact" if describe_loss(name).margin_grad else None
    margin: Any = create_loss(name, 2, 2, margin_grad=exact).margin
    margin.eval()
    if name == "adaface":  # as in the middle of a training, or every quality would be 0
        margin.norm_mean.fill_(20.0)
        margin.norm_deviation.fill_(3.0)
    return margin
