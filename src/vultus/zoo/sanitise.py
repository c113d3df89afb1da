"""Read an ONNX file within bounds, and make a foreign one load in current runtimes and take any batch.

A network is a program. Those that embed or detect faces run straight through, so one that loops or branches, or that
makes a tensor of more than `MOST_VALUES` numbers of one picture, is refused before a runtime sees it.

Three faults of published files are mended:
* weights kept as block-quantised integers behind DequantizeLinear (ONNX Runtime refuses some): folded to float32;
* graph inputs that no node reads or that an initialiser shadows (old converters declare every weight): dropped;
* a batch of exactly one (and, for detectors, one picture size) written into shapes: made dynamic.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from vultus.errors import ContractError
from vultus.files import check_file, parsing, read_file

MOST_NETWORK = 2**31 - 1
"""Bytes of an ONNX file, protobuf's own limit, and of the weights that lie beside it."""
MOST_VALUES = 2**28
"""Numbers in one tensor: 1 GiB of float32, eight times the largest of an IResNet-200 of 112x112 and batch 32."""
SMALL = 1024
"""Constants of so many numbers at most can be shapes."""
DAMAGED = "get or export it again"


def read_network(path: str | Path) -> onnx.ModelProto:
    """The network in an ONNX file, with weights that lie in files beside it, refused where it could run without end.

    Raises:
        FileError: no regular file of at most `MOST_NETWORK` bytes, no ONNX, or broken. Codes: those of
            `files.read_file`, and malformed.
        ContractError: code operators for loops, branches and functions; code too_large for a tensor.
    """
    path = Path(path)
    content = read_file(path, MOST_NETWORK, "the model file")
    with parsing(path, "ONNX file", DAMAGED):
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # protobuf's own, of no class that it promises
            raise ValueError(str(error)) from None
        _read_outside(model, path)
        check_network(model, str(path))
    return model


def check_network(model: onnx.ModelProto, where: str) -> None:
    """ContractError, see `read_network`, for a network that could run without end or take any memory."""
    if model.functions:
        told = f"{where} defines functions of its own, which no recognizer needs; export it with them written out"
        raise ContractError(told, code="operators")
    for node in model.graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            told = f"{where} loops or branches ({node.op_type}), which no recognizer needs; export it without"
            raise ContractError(told, code="operators", operator=node.op_type)
    for name, size in _sizes(model):
        if size > MOST_VALUES:
            told = f"{where} makes a tensor of {size:,} numbers ({name[:60]!r}); at most {MOST_VALUES:,} are computed"
            raise ContractError(told, code="too_large")


def _read_outside(model: onnx.ModelProto, path: Path) -> None:
    """Load weights from files beside `path`, as exporters write them; each a regular file of its folder."""
    outside = [t for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
    for name in {external_data_helper.ExternalDataInfo(tensor).location for tensor in outside}:
        if Path(name).name != name:
            told = f"{path} wants its weights of {name[:80]!r}; they must lie beside it"
            raise ContractError(told, code="malformed")
        check_file(path.parent / name, MOST_NETWORK, "the weights")
    for tensor in outside:
        external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _sizes(model: onnx.ModelProto) -> Iterable[tuple[str, int]]:
    """(name, numbers) of the tensors whose shapes follow from one picture of 640x640 pixels at most."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.CopyFrom(
        onnx.GraphProto(name="g", node=model.graph.node, input=model.graph.input, output=model.graph.output)
    )
    del light.graph.output[:]  # what a file says of its results is no evidence
    for value in light.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.dim_value:
                dim.dim_value = 640 if axis > 1 else 1
    declared = {value.name for value in light.graph.input}
    for tensor in model.graph.initializer:
        yield tensor.name, prod(tensor.dims)
        if prod(tensor.dims) <= SMALL:
            light.graph.initializer.append(tensor)
        elif tensor.name not in declared:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    try:
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except Exception:  # a graph that cannot be inferred runs as it is
        return
    for value in inferred.graph.value_info:
        yield value.name, prod(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)


def sanitise(model: onnx.ModelProto, *, dynamic_size: bool = False) -> onnx.ModelProto:
    """Return a mended copy of `model`; the input is left as it is.

    Args:
        model: a network with one image input (batch, channels, height, width).
        dynamic_size: also free height and width (fully convolutional detectors).

    Raises:
        ContractError: if no single four-dimensional input remains. Code malformed for a graph that contradicts itself.
    """
    mended = onnx.ModelProto()
    mended.CopyFrom(model)
    with parsing("the network", "ONNX graph", DAMAGED, ContractError):
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
            return np.take(parameter.astype(np.float32), np.arange(q.shape[axis]) // block, axis=axis)
        shape = [1] * q.ndim
        shape[axis] = -1
        return parameter.astype(np.float32).reshape(shape)

    parameters = [spread(parameter) for parameter in (zero, scale) if parameter is not None]
    if np.broadcast_shapes(q.shape, *(parameter.shape for parameter in parameters)) != q.shape:
        raise ContractError("a scale of the network's quantised weights does not fit them", code="malformed")
    return (values if zero is None else values - parameters[0]) * parameters[-1]


def _fold_constants(graph: onnx.GraphProto) -> None:
    """Replace Constant, and DequantizeLinear, Reshape and Identity of constants, by initialisers, in one walk."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept, made = [], 0
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
        made += folded.nbytes
        if made > MOST_NETWORK:
            raise ContractError(f"the network's constants take more than {MOST_NETWORK:,} bytes", code="too_large")
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
