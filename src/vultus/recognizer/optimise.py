"""Rewrite a network for onnxruntime's CPU kernels at load time. The file, its digest and its contract are untouched.

onnxruntime runs convolutions in a blocked layout on x86 (NCHWc), which PRelu does not know: each PRelu costs two
reorderings of the activations and a slow broadcast, together more than the convolutions of a MobileFaceNet. The same
function written with operators that the layout knows stays inside it:

    prelu(x) = a x + relu((1 - a) x)            for slopes a <= 1: two depthwise 1x1 convolutions, Relu and Add fused
             = a x + (1 - a) relu(x)            for any slopes
"""

from __future__ import annotations

import platform

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKED = platform.machine().lower() in ("x86_64", "amd64")
"""Whether onnxruntime has the blocked layout here; elsewhere a 1x1 depthwise convolution is slower than PRelu."""


def optimise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes the same (to rounding) faster on this CPU, or `model` itself where nothing is to be gained.

    Quantised networks stay as they are: their PRelu lies between DequantizeLinear and QuantizeLinear. A float16 network
    is widened: CPU kernels for float16 are few, and onnxruntime would convert back and forth around each node.
    """
    model = _widened(model)
    kinds = {node.op_type for node in model.graph.node}
    if not BLOCKED or "PRelu" not in kinds or "QuantizeLinear" in kinds:
        return model
    try:
        shapes = _channels(onnx.shape_inference.infer_shapes(model))
    except Exception:  # a graph that cannot be inferred runs as it is
        return model
    faster = onnx.ModelProto()
    faster.CopyFrom(model)
    graph = faster.graph
    constants = _constants(graph)
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(graph.node):
        slope = constants.get(node.input[1]) if node.op_type == "PRelu" else None
        channels = shapes.get(node.input[0]) if slope is not None else None
        if slope is None or slope.dtype != np.float32 or slope.size != channels or slope.shape[-2:] != (1, 1):
            nodes.append(node)
        else:
            nodes.extend(_without_prelu(graph, node, slope.reshape(-1), f"vultus_prelu_{number}"))
    del graph.node[:]
    graph.node.extend(nodes)
    return faster


def _without_prelu(graph: onnx.GraphProto, node: onnx.NodeProto, slope: np.ndarray, name: str) -> list[onnx.NodeProto]:
    """Nodes that give what `node` gives, for slopes (C,)."""
    given, result = node.input[0], node.output[0]

    def scaled(source: str, factor: np.ndarray, output: str) -> onnx.NodeProto:
        weight = f"{output}_weight"
        graph.initializer.append(numpy_helper.from_array(factor.astype(np.float32).reshape(-1, 1, 1, 1), weight))
        return helper.make_node("Conv", [source, weight], [output], group=len(factor), kernel_shape=[1, 1])

    linear, bent, rest = f"{name}_linear", f"{name}_bent", f"{name}_rest"
    if (slope <= 1).all():
        bending = [scaled(given, 1 - slope, rest), helper.make_node("Relu", [rest], [bent])]
    else:
        bending = [helper.make_node("Relu", [given], [rest]), scaled(rest, 1 - slope, bent)]
    return [*bending, scaled(given, slope, linear), helper.make_node("Add", [linear, bent], [result])]


def _widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """float16 constants and casts as float32; `model` itself where it has none."""
    if all(tensor.data_type != TensorProto.FLOAT16 for tensor in model.graph.initializer):
        return model
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    return wide


def _channels(model: onnx.ModelProto) -> dict[str, int]:
    """Channels of every four-dimensional float32 value."""
    found = {}
    for value in [*model.graph.value_info, *model.graph.input]:
        tensor = value.type.tensor_type
        if tensor.elem_type == TensorProto.FLOAT and len(tensor.shape.dim) == 4:
            found[value.name] = tensor.shape.dim[1].dim_value
    return found


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Initialisers, also under the names that Identity gives them (torch's exporter shares equal ones so)."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found
