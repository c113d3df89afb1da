"""Files that unmodified packages prepare crops for as the contract says: `insightface`, and OpenCV's FaceRecognizerSF.

Both give RGB at 112x112. ArcFaceONNX of insightface feeds it as (value - 127.5) / 127.5 or, if nodes named Sub... and
Mul... are among the first eight of the graph, as plain 0..255; FaceRecognizerSF always feeds 0..255. Any other
preprocessing is moved into the graph, behind two nodes of these names.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper

from vultus.errors import VultusError
from vultus.files import working_folder
from vultus.recognizer.cosines import row_cosines
from vultus.zoo import Contract, canonical_digest

PACKAGES = ("insightface", "opencv")
LOOKED_AT = 8
"""Nodes whose names ArcFaceONNX reads."""
ARCFACE = (127.5, 127.5, 127.5)
SAME = 0.9999
"""Least cosine of OpenCV's embedding to onnxruntime's."""


def compatible(model: onnx.ModelProto, contract: Contract, package: str) -> tuple[onnx.ModelProto, Contract]:
    """A copy whose embeddings in `package`, of `PACKAGES`, are the contract's, and its contract.

    Where the network is right as it is, both stay as they are. The contract is another one if preprocessing had to move
    into the graph.

    Raises:
        VultusError: crops of another height than 112, or wider: they would be cut or resized in another way.
    """
    height, width = contract.crop_size
    if height != 112 or width > 112 or width % 2:
        raise VultusError(
            f"--compatible {package}: the network takes crops of {height}x{width}, {package} gives 112x112"
        )
    if contract.flip:
        raise VultusError(f"--compatible {package}: it adds no mirror images; leave --flip out")
    first = [node for node in model.graph.node[:LOOKED_AT] if node.name.startswith(("Sub", "Mul", "_minus", "_mul"))]
    shifts = {node.name.startswith(("Sub", "_minus")) for node in first} == {True, False}  # a Sub and a Mul
    square_rgb = contract.color == "RGB" and width == 112
    raw = square_rgb and contract.mean == (0.0,) * 3 and contract.std == (1.0,) * 3
    arcface = square_rgb and contract.mean == contract.std == ARCFACE
    if (package == "opencv" and raw) or (package == "insightface" and ((raw and shifts) or (arcface and not shifts))):
        return model, contract
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node[:LOOKED_AT]:  # a Sub and a Mul of the network's own would mislead insightface
        if node.name.startswith(("Sub", "Mul", "_minus", "_mul")):
            node.name = f"net_{node.name}"
    if package == "insightface" and arcface:
        return changed, dataclasses.replace(contract, weights=canonical_digest(changed))
    _prepend(changed.graph, contract)
    moved = dataclasses.replace(
        contract, weights=canonical_digest(changed), mean=(0.0,) * 3, std=(1.0,) * 3, color="RGB", crop_size=(112, 112)
    )
    return changed, moved


def check_opencv(model: onnx.ModelProto, crops: np.ndarray, wanted: np.ndarray, folder: Path) -> None:
    """Whether cv2.FaceRecognizerSF gives `wanted`, (N, D), of the crops (N, 112, 112, 3) uint8 RGB. Code: opencv.

    It reads files only, so one is written to `folder` for a moment.
    """
    try:
        with working_folder(folder, "opencv") as work:
            (work / "model.onnx").write_bytes(model.SerializeToString())
            recognizer = cv2.FaceRecognizerSF.create(str(work / "model.onnx"), "")
        rows = np.stack([recognizer.feature(np.ascontiguousarray(crop[..., ::-1])).ravel() for crop in crops])
    except cv2.error as error:
        reason = " ".join(str(error).split())[:160]
        raise VultusError(f"OpenCV {cv2.__version__} cannot run this network ({reason})", code="opencv") from None
    if rows.shape != wanted.shape or not (row_cosines(rows, wanted) > SAME).all():
        raise VultusError(
            f"OpenCV {cv2.__version__} gives other embeddings of this network than onnxruntime", code="opencv"
        )


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
