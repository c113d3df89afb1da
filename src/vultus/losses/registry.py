"""Losses by name."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vultus.errors import VultusError
from vultus.losses import margins
from vultus.losses.centers import ClassCenters
from vultus.losses.head import MarginLoss
from vultus.losses.margins import Margin
from vultus.losses.pairs import Contrastive, PairLoss, Triplet
from vultus.losses.ranks import Group, world
from vultus.losses.update import UpdateInBackward
from vultus.losses.walk import ENGINES

LOSSES: dict[str, type[Margin] | type[PairLoss]] = {
    "softmax": margins.Softmax,
    "normface": margins.NormFace,
    "sphereface": margins.SphereFace,
    "sphereface_r": margins.SphereFaceR,
    "cosface": margins.CosFace,
    "arcface": margins.ArcFace,
    "combined": margins.Combined,
    "subcenter_arcface": margins.SubcenterArcFace,
    "adaface": margins.AdaFace,
    "magface": margins.MagFace,
    "elasticface_arc": margins.ElasticArc,
    "elasticface_arc_plus": margins.ElasticArcPlus,
    "elasticface_cos": margins.ElasticCos,
    "elasticface_cos_plus": margins.ElasticCosPlus,
    "curricularface": margins.CurricularFace,
    "uniface": margins.UniFace,
    "sphereface2": margins.SphereFace2,
    "triplet": Triplet,
    "contrastive": Contrastive,
}
"""In the order of the field's history and kinship, as `vultus losses` shows them."""

PRODUCTS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class LossInfo:
    """What there is to know of a loss before choosing it."""

    name: str
    formula: str
    source: str
    parameters: dict[str, Any]
    """Names and defaults."""
    scale: float | None
    margin_grad: str | None
    pairs: bool
    """Works on pairs within the batch, without class centres."""
    about: str


def list_losses() -> list[str]:
    """Names that `create_loss` takes, in alphabetical order."""
    return sorted(LOSSES)


def describe_loss(name: str) -> LossInfo:
    """Formula, paper and parameters of a loss. Raises VultusError for an unknown name, with the nearest one."""
    kind = _kind(name)
    parameters = {key: value.default for key, value in inspect.signature(kind).parameters.items()}
    pairs = issubclass(kind, PairLoss)
    return LossInfo(
        name.lower(),
        kind.formula,
        kind.source,
        parameters,
        None if issubclass(kind, PairLoss) or not kind.normalized else kind.scale,
        None if issubclass(kind, PairLoss) else kind.default_grad,
        pairs,
        inspect.cleandoc(kind.__doc__ or ""),
    )


def create_loss(
    name: str,
    embedding_dim: int,
    num_classes: int,
    *,
    scale: float | None = None,
    margin_grad: str | None = None,
    engine: str | None = None,
    keep: bool | None = None,
    products: str | None = None,
    sample: float | None = None,
    filter_above: float | None = None,
    skip_below: float | None = None,
    update_in_backward: Mapping[str, float] | None = None,
    sharded: bool = False,
    group: Group = None,
    check: bool = False,
    **params: Any,
) -> MarginLoss | PairLoss:
    """A loss: `loss(embeddings, labels)` is a scalar. None is the default everywhere.

    Margin losses have centres of their own, (num_classes, embedding_dim), and these options:

    scale: s, above 0; each loss has its own default (64 for most; plain softmax has none and refuses one).
    margin_grad: "exact" or "detached"; refused where both are the same.
    engine: "auto", "dense", "cut" or "triton"; keep: whether `cut` keeps the (B, C) products for backward, or computes
        them again; decided by the memory that is free.
    products: "fp32", "bf16" or "fp16", the type in which matrices are multiplied. Half precision is off unless asked
        for: with bf16 the gradients are 1 to 3 % off (relative norm).
    sample: share of the centres that takes part in a step (Partial FC), above 0 and up to 1. Use it with
        `optimizers.RowSGD` or `RowAdamW`.
    filter_above: other classes whose cosine is above this are left out, as the same person under another label. In
        (-1, 1); 0.4 in arcface_torch's configurations for noisy data.
    skip_below: see `walk.Reduction`; 0 is exact.
    update_in_backward: lr, momentum, weight_decay of `update.UpdateInBackward`.
    sharded: the classes are divided over the ranks of `group`; see `MarginLoss`.
    check: look for bad values on a GPU too.
    params: the parameters of the loss itself, such as `margin` (`describe_loss` names them).

    Raises VultusError for an unknown name, option or parameter, naming the nearest, and for a value out of range.
    """
    kind = _kind(name)
    if embedding_dim < 1 or num_classes < 2:
        raise VultusError(
            f"loss {name}: needs an embedding of at least 1 number and at least 2 classes, "
            f"got embedding_dim={embedding_dim}, num_classes={num_classes}"
        )
    head = {
        "scale": scale,
        "margin_grad": margin_grad,
        "engine": engine,
        "keep": keep,
        "products": products,
        "sample": sample,
        "filter_above": filter_above,
        "skip_below": skip_below,
        "update_in_backward": update_in_backward,
        "sharded": sharded or None,
    }
    given = {key: value for key, value in params.items() if value is not None}
    if issubclass(kind, PairLoss):
        for option, value in head.items():
            if value is not None:
                raise VultusError(f"loss {name}: has no class centres, and so no {option}; leave {option}={value} out")
        pairs = _create(name, kind, given, [])
        pairs.check = check
        return pairs
    margin = _create(name, kind, given, list(head))
    if margin_grad is not None:
        margin.choose_grad(margin_grad)
    if scale is not None and not kind.normalized:
        raise VultusError(f"loss {name}: works on raw embeddings and has no scale; leave scale={scale} out")
    scale = kind.scale if scale is None else float(scale)
    if not 0 < scale < math.inf:
        raise VultusError(f"loss {name}: scale={scale} must be above 0; papers use 30 to 64")
    engine = engine or "auto"
    if engine not in ENGINES:
        raise VultusError(f'engine: unknown name "{engine}"; {_nearest(engine, sorted(ENGINES))}')
    if products is not None and products not in PRODUCTS:
        raise VultusError(f'products: unknown type "{products}"; {_nearest(products, list(PRODUCTS))}')
    sample = 1.0 if sample is None else float(sample)
    if not 0 < sample <= 1:
        raise VultusError(f"sample={sample}: must be a share above 0 and up to 1; Partial FC's paper has 0.1 and more")
    if filter_above is not None and not (kind.normalized and -1 < filter_above < 1):
        reason = "must be a cosine between -1 and 1" if kind.normalized else f"{name} has no cosines to filter by"
        raise VultusError(f"filter_above={filter_above}: {reason}")
    if skip_below and (kind.reducer != "logsumexp" or not 0 <= skip_below < 1):
        raise VultusError(f"skip_below={skip_below}: a share from 0 to 1, for losses that are a softmax")
    if update_in_backward is not None and sample < 1:
        raise VultusError("update_in_backward and sample both keep the gradient small, in different ways; choose one")
    rank, ranks = world(group) if sharded else (0, 1)
    if num_classes < ranks:
        raise VultusError(f"sharded: {num_classes} classes cannot be divided over {ranks} ranks")
    margin.prepare(num_classes, scale)
    centers = ClassCenters(
        num_classes,
        embedding_dim,
        bias=not kind.normalized,
        subcenters=margin.subcenters,
        sample=sample,
        rank=rank,
        ranks=ranks,
    )
    return MarginLoss(
        centers,
        margin,
        scale,
        engine=engine,
        keep=keep,
        products=PRODUCTS[products or "fp32"],
        filter_above=filter_above,
        skip_below=skip_below or 0.0,
        update=None if update_in_backward is None else UpdateInBackward(centers.weight, **update_in_backward),
        sharded=sharded,
        group=group,
        check=check,
    )


def _kind(name: str) -> type[Margin] | type[PairLoss]:
    kind = LOSSES.get(name.lower())
    if kind is None:
        raise VultusError(f'loss: unknown name "{name}"; {_nearest(name.lower(), list_losses())}')
    return kind


def _create(name: str, kind: type[Any], params: dict[str, Any], options: list[str]) -> Any:
    known = list(inspect.signature(kind).parameters)
    for key in params:
        if key not in known:
            near = difflib.get_close_matches(key, [*known, *options], n=1)
            uses = f'did you mean "{near[0]}"?' if near else f"it takes {', '.join(known) or 'none'}"
            beside = f" (beside {', '.join(options)})" if options and not near else ""
            raise VultusError(f'loss {name}: has no parameter "{key}"; {uses}{beside}')
    return kind(**params)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
