"""Models by name: what exists, what people type, and what they probably meant. Imports torch and timm only on use."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import VultusError
from vultus.models.architectures import NATIVE
from vultus.zoo import Preprocessing

if TYPE_CHECKING:
    from torch import nn

# What people type, without case, dashes and underscores.
ALIASES: dict[str, str] = {
    # "ir50" itself is AdaFace's, whose code counts 101 layers where InsightFace's counts 100.
    **{f"{short}{depth}": f"iresnet{depth}" for short in ("r", "ires") for depth in (18, 34, 50, 100, 200)},
    **{f"{short}100": f"{short}101" for short in ("ir", "irse")},
    "resnet100": "iresnet100",  # timm has no resnet100
    "mbf": "mobilefacenet_insightface",
    "mbflarge": "mobilefacenet_insightface_large",
    "facenet": "inception_resnet_v1",
    "mobilenetv3small": "timm/mobilenetv3_small_100",
    "mobilenetv3large": "timm/mobilenetv3_large_100",
}

# Names that a face recognition paper and timm use for different networks.
AMBIGUOUS = ("resnet18", "resnet34", "resnet50")


def create_model(
    name: str,
    embedding_dim: int | None = None,
    pretrained: bool = False,
    weights: str | Path | None = None,
    **kwargs: Any,
) -> nn.Module:
    """A trainable embedder: (B, 3, 112, 112) normalised float crops -> (B, embedding_dim) raw embeddings.

    Its `preprocessing` says which crops it takes: of another size for a few (`describe_model`), scaled as ArcFace's.
    name: as `list_models` gives it, or as people type it (`resolve`). pretrained: only `timm/` models have weights to
    download. weights: a file of any known layout, or a recogniser of the zoo (`weights.load_weights`); the name may be
    "auto" then, the dimension follows from the file, and `preprocessing` is that of the weights. embedding_dim: 512 if
    not given. kwargs: the model's own options (dropout, width; for `timm/` also timm's).
    Raises VultusError for an unknown name or option, and where weights cannot be had or do not fit.
    """
    if weights is not None:
        from vultus.models.weights import load_network

        network = load_network(weights, name=None if name == "auto" else name, **kwargs)
        found = int(network.embedding_dim)  # pyright: ignore[reportArgumentType]
        if embedding_dim not in (None, found):
            raise VultusError(f"{weights} has {found} dimensions, not embedding_dim={embedding_dim}; leave it out")
        return network
    name = resolve(name)
    embedding_dim = 512 if embedding_dim is None else embedding_dim
    if embedding_dim < 1:
        raise VultusError(f"embedding_dim={embedding_dim}: must be at least 1; the field uses 128 to 512")
    dropout, width = kwargs.get("dropout", 0.0), kwargs.get("width", 1.0)
    if not 0 <= dropout < 1:
        raise VultusError(f"model {name}: dropout={dropout} must be at least 0 and below 1")
    if not 0 < width <= 8:
        raise VultusError(f"model {name}: width={width} must be above 0 and at most 8; 1 is the paper's")
    if name.startswith("timm/"):
        from vultus.models.timm_backbones import timm_embedder

        model = timm_embedder(name.removeprefix("timm/"), embedding_dim, pretrained, **kwargs)
        return _prepared(model, Preprocessing())
    if pretrained:
        raise VultusError(f"{name}: no pretrained weights to download; leave pretrained out and load a weights file")
    entry = NATIVE[name]
    build = getattr(importlib.import_module(f"vultus.models.{entry.module}"), entry.factory)
    options = [key for key in inspect.signature(build).parameters if key not in ("embedding_dim", *entry.options)]
    for key in kwargs:
        if key not in options:
            known = f"it takes {', '.join(options)}" if options else "it takes none"
            raise VultusError(f'model {name}: has no option "{key}"; {known}')
    return _prepared(build(embedding_dim, **entry.options, **kwargs), Preprocessing(crop_size=entry.crop_size))


def _prepared(model: nn.Module, how: Preprocessing) -> nn.Module:
    model.preprocessing = how  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return model


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern, vultus's own first, then timm's as `timm/<name>`; each in natural order."""
    pattern = pattern.lower()
    timm_names = [f"timm/{name}" for name in _timm_names()]
    return [
        name
        for group in (NATIVE, timm_names)
        for name in sorted(group, key=_natural)
        if fnmatch.fnmatchcase(name.lower(), pattern)
    ]


def resolve(name: str) -> str:
    """The canonical name of what somebody typed: any case, dashes for underscores, the field's short forms.

    Raises VultusError for a name that means two networks, and for an unknown one with the nearest that exist.
    """
    typed = name.strip().lower().replace("-", "_")
    if typed in NATIVE:
        return typed
    bare = typed.replace("_", "")
    own = {key.replace("_", ""): key for key in NATIVE} | ALIASES
    if bare in own:
        typed = own[bare]
        if not typed.startswith("timm/"):
            return typed
    elif bare in AMBIGUOUS:
        raise VultusError(f'model "{name}" is ambiguous: write i{bare} (ArcFace\'s IResNet) or timm/{bare}')
    # A tag of pretrained weights follows a dot: timm/resnet50.a1_in1k.
    backbone, dot, tag = typed.removeprefix("timm/").partition(".")
    known = _timm_names()
    if backbone in known:
        if dot and tag not in _timm_tags(backbone):
            tags = ", ".join(_timm_tags(backbone)) or "none"
            raise VultusError(f'model "{name}": timm/{backbone} has no weights tagged "{tag}"; its tags: {tags}')
        return f"timm/{backbone}{dot}{tag}"
    if typed.startswith("timm/") and not known:
        raise VultusError(f'model "{name}" needs the package timm: install vultus with its extra "train"')
    raise VultusError(f'model "{name}" is unknown; {_suggest(typed, known)}')


def _suggest(typed: str, timm_names: list[str]) -> str:
    own = [] if typed.startswith("timm/") else list(NATIVE)
    bare = typed.removeprefix("timm/")
    longer = sorted((name for name in timm_names if name.startswith(bare)), key=_natural)[:2]
    # vultus's own before timm's: among 1,300 names of timm something is always a little nearer.
    names = difflib.get_close_matches(bare, own, n=2, cutoff=0.5)
    names += [f"timm/{name}" for name in [*longer, *difflib.get_close_matches(bare, timm_names, n=2)]]
    return f"did you mean {', '.join(dict.fromkeys(names))}?" if names else 'list_models("*") names all'


def _timm_names() -> list[str]:
    try:
        import timm
    except ImportError:
        return []
    return timm.list_models()


def _timm_tags(backbone: str) -> list[str]:
    import timm

    names = timm.list_models(f"{backbone}.*", pretrained=True)
    return sorted(name.partition(".")[2] for name in names)


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Numbers in a name compare as numbers: iresnet50 before iresnet100."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]
