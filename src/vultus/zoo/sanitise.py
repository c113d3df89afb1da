"""Make a foreign ONNX file load in current runtimes, and take any batch, without changing what it computes.

Three faults of published files are mended:
* weights kept as block-quantised integers behind DequantizeLinear (ONNX Runtime refuses some): folded to float32;
* graph inputs that no node reads or that an initialiser shadows (old converters declare every weight): dropped;
* a batch of exactly one (and, for detectors, one picture size) written into shapes: made dynamic.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vultus.errors import ContractError


def sanitise(model: onnx.ModelProto, *, dynamic_size: bool = False) -> onnx.ModelProto:
    """Return a mended copy of `model`; the input is left as it is.

    Args:
        model: a network with one image input (batch, channels, height, width).
        dynamic_size: also free height and width (fully convolutional detectors).

    Raises:
        ContractError: if no single four-dimensional input remains.
    """
    mended = onnx.ModelProto()
    mended.CopyFrom(model)
    _fold_constants(mended.graph)
    _drop_unread(mended.graph)
    _free_shapes(mended.graph, dynamic_size)
    return mended


def dequantise(q: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int, block: int) -> np.ndarray:
    """DequantizeLinear in numpy, float32: a scale for the tensor, for each index of `axis`, or for each block of it.

    See the ONNX operator DequantizeLinear, version 21; `block` 0 means no blocks.
    """
    values = q.astype(np.float32)

    def spread(parameter: np.ndarray) -> np.ndarray:
        if parameter.size == 1 and parameter.ndim <= 1:
            return parameter.astype(np.float32).reshape(())
        if block:
            wide = np.repeat(parameter.astype(np.float32), block, axis=axis)
            return np.take(wide, np.arange(q.shape[axis]), axis=axis)
        shape = [1] * q.ndim
        shape[axis] = -1
        return parameter.astype(np.float32).reshape(shape)

    if zero is not None:
        values = values - spread(zero)
    return values * spread(scale)


def _fold_constants(graph: onnx.GraphProto) -> None:
    """Replace Constant, and DequantizeLinear, Reshape and Identity of constants, by initialisers, in one walk."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [constants.get(name) for name in node.input]
        if node.op_type == "Constant" and "value" in attributes:
            folded = numpy_helper.to_array(attributes["value"])
        elif node.op_type == "Identity" and inputs[0] is not None:  # exporters share equal weights so
            folded = inputs[0]
        elif node.op_type == "DequantizeLinear" and inputs[0] is not None and inputs[1] is not None:
            zero = inputs[2] if len(inputs) > 2 else None
            axis, block = int(attributes.get("axis", 1)), int(attributes.get("block_size", 0))
            folded = dequantise(inputs[0], inputs[1], zero, axis % max(inputs[0].ndim, 1), block)
        elif node.op_type == "Reshape" and len(inputs) > 1 and inputs[0] is not None and inputs[1] is not None:
            copied = [] if attributes.get("allowzero") else inputs[0].shape
            folded = inputs[0].reshape([copied[i] if d == 0 and copied else int(d) for i, d in enumerate(inputs[1])])
        else:
            kept.append(node)
            continue
        constants[node.output[0]] = folded
        graph.initializer.append(numpy_helper.from_array(np.asarray(folded, order="C"), node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Keep the initialisers and the inputs that some node reads; an input with an initialiser is no input."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    initialisers = [tensor for tensor in graph.initializer if tensor.name in read]
    fixed = {tensor.name for tensor in initialisers}
    inputs = [value for value in graph.input if value.name in read and value.name not in fixed]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend(initialisers)
    graph.input.extend(inputs)


def _free_shapes(graph: onnx.GraphProto, dynamic_size: bool) -> None:
    """Name the batch axis (and the picture's sides); a Reshape to (1, ..., -1, ...) copies the batch instead."""
    if len(graph.input) != 1 or len(graph.input[0].type.tensor_type.shape.dim) != 4:
        names = [value.name for value in graph.input]
        raise ContractError(f"the network must have one image input (batch, channels, height, width); it has {names}")
    dims = graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param = "batch"
    if dynamic_size:
        dims[2].dim_param, dims[3].dim_param = "height", "width"
    shapes = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.INT64}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in shapes:
            tensor = shapes[node.input[1]]
            target = numpy_helper.to_array(tensor).copy()
            if target.size > 1 and target[0] == 1:
                target[0] = 0  # 0 copies the input's size, unless allowzero says otherwise
                kept = [a for a in node.attribute if a.name != "allowzero"]
                del node.attribute[:]
                node.attribute.extend(kept)
                tensor.CopyFrom(numpy_helper.from_array(target, tensor.name))
    for output in graph.output:
        shape = output.type.tensor_type.shape.dim
        if len(shape):
            shape[0].dim_param = "batch"
            if dynamic_size:
                for index, dim in enumerate(shape[1:-1]):
                    dim.dim_param = f"{output.name}_{index + 1}"
    del graph.value_info[:]  # shapes inferred for the old sizes
