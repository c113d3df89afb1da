"""A digest of what a network computes, independent of names, file layout and metadata."""

from __future__ import annotations

import hashlib

import onnx
from onnx import numpy_helper

from vultus.errors import ContractError
from vultus.files import parsing


def canonical_digest(model: onnx.ModelProto) -> str:
    """SHA-256 (hex) of the operations, their attributes and their constants, in the order of the graph.

    Values are numbered in order of appearance, so renaming tensors, adding metadata or re-saving the file changes
    nothing, while one changed weight does. `model` should have passed `sanitise`.
    Raises ContractError, code malformed, for constants that contradict themselves.
    """
    with parsing("the network", "ONNX graph", "get or export it again", ContractError):
        return _digest(model)


def _digest(model: onnx.ModelProto) -> str:
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    numbers: dict[str, int] = {}
    digest = hashlib.sha256()

    def value(name: str) -> bytes:
        if name in constants:
            array = numpy_helper.to_array(constants[name])
            content = hashlib.sha256(array.tobytes()).hexdigest()
            return f"constant {array.dtype.str} {array.shape} {content}".encode()
        return f"value {numbers.setdefault(name, len(numbers))}".encode()

    for declared in graph.input:
        digest.update(b"input " + value(declared.name) + b"\n")
    for node in graph.node:
        digest.update(f"node {node.domain}:{node.op_type}\n".encode())
        for name in node.input:
            digest.update(b"  in " + (value(name) if name else b"none") + b"\n")
        for attribute in sorted(node.attribute, key=lambda a: a.name):
            if attribute.type == onnx.AttributeProto.TENSOR:
                array = numpy_helper.to_array(attribute.t)
                payload = f"{array.dtype.str} {array.shape}".encode() + array.tobytes()
            else:
                bare = onnx.AttributeProto()
                bare.CopyFrom(attribute)
                bare.ClearField("doc_string")
                payload = bare.SerializeToString(deterministic=True)
            digest.update(b"  attribute " + attribute.name.encode() + b" " + hashlib.sha256(payload).digest() + b"\n")
        for name in node.output:
            digest.update(b"  out " + (value(name) if name else b"none") + b"\n")
    for declared in graph.output:
        digest.update(b"output " + value(declared.name) + b"\n")
    for opset in sorted(model.opset_import, key=lambda o: o.domain):
        digest.update(f"opset {opset.domain or 'ai.onnx'} {opset.version}\n".encode())
    return digest.hexdigest()
