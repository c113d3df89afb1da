"""Losses by name."""

from __future__ import annotations

import difflib
import inspect
import math

from vultus.errors import VultusError
from vultus.losses.engines import ENGINES
from vultus.losses.margins import MARGINS, Margin
from vultus.losses.softmax import ClassCenters, MarginSoftmax


def list_losses() -> list[str]:
    """Names that `create_loss` takes, in alphabetical order."""
    return sorted(MARGINS)


def create_loss(
    name: str,
    embedding_dim: int,
    num_classes: int,
    *,
    scale: float | None = None,
    margin_grad: str | None = None,
    engine: str = "dense",
    **params: float | None,
) -> MarginSoftmax:
    """A loss with its own (num_classes, embedding_dim) centres: `loss(embeddings, labels)` is a scalar.

    scale: s, above 0; None takes the loss's own (64; plain softmax has none and refuses one).
    margin_grad: "exact" or "detached"; None takes the loss's own (see `margins.ArcFace`); refused where
        both are the same.
    params: the parameters of the loss's margin, such as `margin`; None takes the default. A parameter that the loss
    does not use is an error that names those it does.
    """
    kind = MARGINS.get(name.lower())
    if kind is None:
        raise VultusError(f'loss: unknown name "{name}"; {_nearest(name.lower(), list_losses())}')
    if embedding_dim < 1 or num_classes < 2:
        raise VultusError(
            f"loss {name}: needs an embedding of at least 1 number and at least 2 classes, "
            f"got embedding_dim={embedding_dim}, num_classes={num_classes}"
        )
    if engine not in ENGINES:
        raise VultusError(f'engine: unknown name "{engine}"; {_nearest(engine, sorted(ENGINES))}')
    if scale is not None and not kind.normalized:
        raise VultusError(f"loss {name}: works on raw embeddings and has no scale; leave scale={scale} out")
    scale = kind.scale if scale is None else float(scale)
    if not 0 < scale < math.inf:
        raise VultusError(f"loss {name}: scale={scale} must be above 0; papers use 30 to 64")
    margin = _create_margin(name, kind, {key: value for key, value in params.items() if value is not None})
    if margin_grad is not None:
        margin.choose_grad(margin_grad)
    return MarginSoftmax(ClassCenters(num_classes, embedding_dim, bias=not kind.normalized), margin, scale, engine)


def _create_margin(name: str, kind: type[Margin], params: dict[str, float]) -> Margin:
    known = [key for key in inspect.signature(kind).parameters]
    for key in params:
        if key not in known:
            uses = f"it takes {', '.join(known)}" if known else "it takes none"
            raise VultusError(f'loss {name}: has no parameter "{key}"; {uses} beside scale, margin_grad and engine')
    return kind(**params)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
