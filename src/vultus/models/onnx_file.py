"""An ONNX recogniser: read, run by onnxruntime for comparison, and recognised as one of our architectures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from vultus.errors import ContractError, VultusError
from vultus.models.architectures import NATIVE
from vultus.models.crops import normalise
from vultus.models.onnx_weights import fill, product_shapes, read_layers
from vultus.models.registry import create_model
from vultus.zoo import Preprocessing, read_network, sanitise


def read_onnx(path: Path) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The file and its sanitised copy, with one image input and one output."""
    model = read_network(path)
    if not model.graph.node:
        raise VultusError(f"{path} is truncated or no ONNX file: it holds no operations")
    if len(model.graph.output) != 1:
        raise ContractError(
            f"{path} has {len(model.graph.output)} outputs, a recogniser has one embedding; a detector perhaps?"
        )
    return model, sanitise(model)


def onnx_embedder(model: onnx.ModelProto, how: Preprocessing) -> Callable[[np.ndarray], np.ndarray]:
    """Unit embeddings by onnxruntime, of crops prepared as `how` says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise VultusError(f"onnxruntime cannot load it: {str(error).splitlines()[0][:160]}") from None
    name = session.get_inputs()[0].name

    def embed(crops: np.ndarray) -> np.ndarray:
        pixels = normalise(torch.from_numpy(crops.copy()), how).contiguous().numpy()
        try:
            raw = np.asarray(session.run(None, {name: pixels})[0])
        except Exception as error:
            raise ContractError(f"it cannot take these crops: {str(error).splitlines()[0][:160]}") from None
        if raw.ndim < 2 or raw.shape[0] != len(crops) or raw[0].size != max(raw.shape[1:]) or raw[0].size < 2:
            raise ContractError(f"its output has shape {raw.shape} for {len(crops)} crops, no embedding (B, D)")
        raw = raw.reshape(len(crops), -1).astype(np.float32)
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    return embed


def input_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """(height, width) of the input, None where it is left open."""
    height, width = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[2:])
    return (height, width) if height > 0 and width > 0 else None


def recognise(
    model: onnx.ModelProto, dim: int, size: tuple[int, int] | None, only: str | None, options: dict[str, Any]
) -> tuple[nn.Module, str, list[str]] | None:
    """One of our architectures with the file's weights in it, and its folded norms."""
    first = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    if first is None or first.input[0] != model.graph.input[0].name:
        return None  # the graph prepares its crops itself, which our modules do not
    layers = read_layers(model)
    wanted = layers.product_shapes
    for name, architecture in NATIVE.items():
        if (only and name != only) or (size and architecture.crop_size != size):
            continue
        with torch.device("meta"):
            empty = create_model(name, dim, **(options if only else {}))
        if product_shapes(empty) != wanted:
            continue
        network = create_model(name, dim, **(options if only else {}))
        folded = fill(network, layers, torch.zeros(1, 3, *architecture.crop_size))
        if folded is not None:
            return network, name, folded
    return None
