"""Files that the unmodified `insightface` package prepares crops for as the contract says.

Its ArcFaceONNX feeds RGB at 112x112, either as (value - 127.5) / 127.5 or, if nodes named Sub... and Mul... are among
the first eight of the graph, as plain 0..255. So any other preprocessing can be moved into the graph, behind two nodes
of these names.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from vultus.errors import VultusError
from vultus.zoo import Contract, canonical_digest

LOOKED_AT = 8
"""Nodes whose names ArcFaceONNX reads."""
ARCFACE = (127.5, 127.5, 127.5)


def for_insightface(model: onnx.ModelProto, contract: Contract) -> tuple[onnx.ModelProto, Contract]:
    """A copy whose embeddings in ArcFaceONNX are the contract's, and its contract.

    The contract is another one if preprocessing had to move into the graph.

    Raises:
        VultusError: crops of another height than 112, or wider: ArcFaceONNX would cut or resize them in its own way.
    """
    height, width = contract.crop_size
    if height != 112 or width > 112 or width % 2:
        raise VultusError(
            f"--compatible insightface: the network takes crops of {height}x{width}, insightface gives 112x112"
        )
    if contract.flip:
        raise VultusError("--compatible insightface: it adds no mirror images; leave --flip out")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for node in graph.node[:LOOKED_AT]:  # a Sub and a Mul of the network's own would mislead it
        if node.name.startswith(("Sub", "Mul", "_minus", "_mul")):
            node.name = f"net_{node.name}"
    plain = contract.mean == contract.std == ARCFACE and contract.color == "RGB" and width == 112
    if plain:
        return changed, dataclasses.replace(contract, weights=canonical_digest(changed))
    _prepend(graph, contract)
    moved = dataclasses.replace(
        contract, weights=canonical_digest(changed), mean=(0.0,) * 3, std=(1.0,) * 3, color="RGB", crop_size=(112, 112)
    )
    return changed, moved


def _prepend(graph: onnx.GraphProto, contract: Contract) -> None:
    """Cut the middle, swap the colours, subtract the mean, multiply by 1 / std: what the contract asks for."""
    given = graph.input[0].name
    width = contract.crop_size[1]
    nodes: list[onnx.NodeProto] = []
    value = given

    def step(operator: str, constants: list[np.ndarray], name: str, **attributes: Any) -> None:
        nonlocal value
        names = [f"{name}_{number}" for number in range(len(constants))]
        graph.initializer.extend(numpy_helper.from_array(c, n) for c, n in zip(constants, names, strict=True))
        nodes.append(helper.make_node(operator, [value, *names], [name], name=name, **attributes))
        value = name

    if width < 112:
        left = (112 - width) // 2
        step("Slice", [np.array([v], np.int64) for v in (left, left + width, 3)], "Cut_preprocessing")
    if contract.color == "BGR":
        step("Gather", [np.array([2, 1, 0], np.int64)], "Swap_preprocessing", axis=1)
    step("Sub", [np.asarray(contract.mean, np.float32).reshape(1, 3, 1, 1)], "Sub_preprocessing")
    step("Mul", [(1 / np.asarray(contract.std, np.float32)).reshape(1, 3, 1, 1)], "Mul_preprocessing")
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == given:
                node.input[index] = value
    graph.input[0].type.tensor_type.shape.dim[3].dim_value = 112
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
