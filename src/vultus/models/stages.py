"""The parts of a network from its input to its output, for freezing up to one and for learning rates by depth."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeVar, cast

from torch import nn

from vultus.models.timm_backbones import TimmEmbedder

Part = tuple[str, list[nn.Module]]
Item = TypeVar("Item")

TIMM_STAGES = 4
"""timm's backbones have up to some fifty groups of layers; more than these are gathered."""
GRAPH_STAGES = 5
MANY = 16
"""With more children than this at the top, a network is a converted graph whose names say nothing."""


def stages(network: nn.Module) -> list[Part]:
    """Ordered parts of a network from input to output, each with its modules; every parameter lies in exactly one.

    Our own networks and timm's backbones come as stem, stage1, stage2, ... and head. Any other network comes as its
    children in their order, under their names; one with very many children, such as a converted graph, as stage1 to
    stage5 with about equal numbers of modules. A parameter that a module owns beside children of several parts, as a
    transformer's position table, comes in an `nn.ParameterList`. Modules without parameters may be missing.
    """
    own = getattr(network, "ordered_parts", None)
    if callable(own):
        parts = cast("list[Part]", own())
    elif isinstance(network, TimmEmbedder):
        parts = _timm_parts(network)
    else:
        parts = _children_parts(network)
    return [(name, owning) for name, modules in parts if (owning := [m for m in modules if _owns(m)])]


def _owns(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _timm_parts(network: TimmEmbedder) -> list[Part]:
    head = [network.norm, network.fc, network.features]
    groups = _timm_groups(network.backbone)
    if groups is None:
        return [*_children_parts(network.backbone), ("head", head)]
    stem, *middle, behind = groups
    part_of = dict.fromkeys(stem, "stem")
    for i, run in enumerate(_runs(middle, TIMM_STAGES), start=1):
        part_of |= {name: f"stage{i}" for group in run for name in group}
    part_of |= dict.fromkeys(behind, "head")
    parts = _gather(network.backbone, part_of)
    parts["head"] = parts.get("head", []) + head
    return [*parts.items()]


def _timm_groups(backbone: nn.Module) -> list[list[str]] | None:
    """Names of a backbone's parameters by depth: the stem's, those of each group, and those behind all groups.

    None where timm does not say how the network is laid out.
    """
    from timm.models import group_parameters

    try:
        matcher = backbone.group_matcher(coarse=True)  # pyright: ignore[reportCallIssue]
        found = group_parameters(backbone, matcher)
    except (AttributeError, NotImplementedError, TypeError):
        return None
    groups = [found[depth] for depth in sorted(found)]
    if len(groups) < 2 or not isinstance(matcher, dict):
        return None
    # timm puts what no pattern names into one more group at the end: the layers behind all blocks.
    specs = [spec for entry in matcher.values() if entry for spec in ([entry] if isinstance(entry, str) else entry)]
    patterns = [re.compile(spec if isinstance(spec, str) else spec[0]) for spec in specs]
    matched = any(pattern.match(groups[-1][0]) for pattern in patterns)
    return [*groups, []] if matched else groups


def _gather(root: nn.Module, part_of: Mapping[str, str]) -> dict[str, list[nn.Module]]:
    """Parts in the order of `part_of` (parameter name to part), as the largest modules that lie wholly in one."""
    parts: dict[str, list[nn.Module]] = {part: [] for part in part_of.values()}

    def visit(module: nn.Module, prefix: str) -> None:
        # A parameter shared with an earlier module is known by its first name only, and is no part of this one.
        owners = {part_of[name] for key, _ in module.named_parameters() if (name := prefix + key) in part_of}
        if not owners:
            return
        if len(owners) == 1 and module is not root:
            parts[owners.pop()].append(module)
            return
        for part in parts:
            own = [p for key, p in module.named_parameters(recurse=False) if part_of.get(prefix + key) == part]
            if own:
                parts[part].append(nn.ParameterList(own))
        for key, child in module.named_children():
            visit(child, f"{prefix}{key}.")

    visit(root, "")
    return parts


def _children_parts(network: nn.Module) -> list[Part]:
    loose = [*network.parameters(recurse=False)]
    children = [(name, child) for name, child in network.named_children() if _owns(child)]
    if len(children) == 1 and not loose and any(True for _ in children[0][1].children()):
        return _children_parts(children[0][1])  # a mere wrapper
    parts: list[Part] = [("loose", [nn.ParameterList(loose)])] if loose else []
    if len(children) > MANY:
        runs = _runs([child for _, child in children], GRAPH_STAGES)
        return parts + [(f"stage{i}", [*run]) for i, run in enumerate(runs, start=1)]
    return parts + [(name, [child]) for name, child in children]


def _runs(items: Sequence[Item], count: int) -> list[Sequence[Item]]:
    """At most `count` consecutive runs of about equal length."""
    count = min(count, len(items))
    cuts = [round(i * len(items) / count) for i in range(count + 1)] if count else [0]
    return [items[start:end] for start, end in pairwise(cuts)]
