"""`vultus losses`: what a recipe's loss can be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vultus.terminal import say


def losses(
    name: Annotated[str | None, typer.Argument(help="Everything about this one.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw target logits and gradients over the angle (PNG).")] = None,
) -> None:
    """All losses with formula, parameters and paper."""
    from vultus.losses import LOSSES, describe_loss

    if plot is not None:
        from vultus.workflows.losses_figure import write_losses_figure

        say(f"wrote {write_losses_figure(plot)}")
        return
    for each in [name] if name else LOSSES:
        info = describe_loss(each)
        options = dict(info.parameters)
        if info.scale is not None:
            options["scale"] = f"{info.scale:g}"
        if info.margin_grad is not None:
            options["margin_grad"] = info.margin_grad
        say(info.name)
        say(f"  {'loss' if info.pairs or 'softplus' in info.formula else 'ψ':<11}{info.formula}")
        say(f"  {'parameters':<11}{', '.join(f'{key}={value}' for key, value in options.items()) or 'none'}")
        say(f"  {'paper':<11}{info.source}", "")
        if name:
            say(*info.about.splitlines())
    if not name:
        say("loss = softplus(log Σ exp(s cos θ_j) - s ψ), j over the other classes, unless a line says loss.")
        say("`vultus losses NAME` says what the parameters mean; in a recipe: `loss: NAME`, or a block.")
