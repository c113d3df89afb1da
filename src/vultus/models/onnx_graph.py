"""Any ONNX recogniser as a trainable torch network: the fallback where no architecture of ours fits.

Layers with weights become torch's own modules, so that freezing, learning rates by depth and LoRA treat them as those
of any network; the rest are functions. (onnx2torch 1.5.15, the last of 2024, refuses operators of opset 21, which
published files need for their quantised weights.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from vultus.errors import ContractError

Attributes = dict[str, Any]
LAYERS = ("Conv", "BatchNormalization", "PRelu", "Gemm")


@dataclass(frozen=True)
class _Step:
    """One operation: which values it takes (None: left out), the one that it makes, and how."""

    inputs: tuple[str | None, ...]
    output: str
    layer: str | None
    """Name of a module, or None for a function."""
    function: Callable[..., Tensor] | None = None


class UnknownOperator(ContractError):
    """A graph that runs, but cannot be trained here."""


class OnnxGraph(nn.Module):
    """(B, 3, h, w) float32 as the ONNX file wants them -> (B, D): the operations of a sanitised graph, in order.

    Raises `UnknownOperator` for one that is not known here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._steps: list[_Step] = []
        self._constants: dict[str, str] = {}  # name in the graph: name of the buffer
        for node in graph.node:
            attributes: Attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            values = [constants.get(name) for name in node.input]
            layer = _layer(node.op_type, values, attributes)
            if layer is not None:
                name = self._free_name(node)
                self.add_module(name, layer)
                self._steps.append(_Step((node.input[0],), node.output[0], name))
                continue
            function = _function(node.op_type, values, attributes)
            if function is None:
                raise UnknownOperator(
                    f"operator {node.op_type} of {node.name or node.output[0]} cannot be trained here; known are "
                    f"{', '.join(sorted({*LAYERS, *FUNCTIONS}))}"
                )
            self._steps.append(_Step(tuple(name or None for name in node.input), node.output[0], None, function))
            for name, value in zip(node.input, values, strict=True):
                if value is not None and name not in self._constants:
                    self._constants[name] = f"constant{len(self._constants)}"
                    self.register_buffer(self._constants[name], torch.from_numpy(np.array(value)))
        last = {name: number for number, step in enumerate(self._steps) for name in step.inputs if name}
        self._free = {n: [v for v in step.inputs if v and last[v] == n] for n, step in enumerate(self._steps)}

    def forward(self, x: Tensor) -> Tensor:
        values: dict[str | None, Tensor | None] = {None: None, self._input: x}
        for name, buffer in self._constants.items():
            values[name] = self.get_buffer(buffer)
        for number, step in enumerate(self._steps):
            inputs = [values[name] for name in step.inputs]
            if step.layer is not None:
                values[step.output] = self.get_submodule(step.layer)(inputs[0])
            else:
                assert step.function is not None
                values[step.output] = step.function(*inputs)
            for name in self._free[number]:
                if name != self._output and name not in self._constants:
                    values[name] = None  # an activation that nobody reads any more
        result = values[self._output]
        assert result is not None
        return result.flatten(1)

    def _free_name(self, node: onnx.NodeProto) -> str:
        bare = re.sub(r"\W+", "_", node.name or node.output[0]).strip("_") or node.op_type.lower()
        name, number = bare, 2
        while hasattr(self, name):
            name, number = f"{bare}_{number}", number + 1
        return name


def _layer(op: str, values: list[np.ndarray | None], attributes: Attributes) -> nn.Module | None:
    """The torch module of a node whose weights are constants, None where it is no such node."""
    if op not in LAYERS or len(values) < 2 or values[1] is None:
        return None
    weight, bias = values[1], values[2] if len(values) > 2 else None
    if op == "Conv" and weight.ndim == 4:
        out, inputs, kernel, group = weight.shape[0], weight.shape[1], weight.shape[2:], attributes.get("group", 1)
        pads = _pads(attributes.get("pads", [0, 0, 0, 0]), attributes.get("auto_pad", b"NOTSET"))
        stride, dilation = tuple(attributes.get("strides", (1, 1))), tuple(attributes.get("dilations", (1, 1)))
        conv = nn.Conv2d(inputs * group, out, kernel, stride, pads, dilation, group, bias=bias is not None)
        return _filled(conv, weight=weight, bias=bias)
    if op == "BatchNormalization":
        norm = nn.BatchNorm2d(len(weight), eps=float(attributes.get("epsilon", 1e-5)))
        if isinstance(values[3], np.ndarray) and isinstance(values[4], np.ndarray):
            return _AnyNorm(_filled(norm, weight=weight, bias=bias, running_mean=values[3], running_var=values[4]))
    if op == "PRelu" and (weight.ndim <= 1 or weight.size == max(weight.shape)):
        return _filled(nn.PReLU(weight.size), weight=weight.reshape(-1))
    if op == "Gemm" and not attributes.get("transA") and weight.ndim == 2:
        weight = weight if attributes.get("transB") else weight.T
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        scaled = weight * attributes.get("alpha", 1.0)
        return _filled(linear, weight=scaled, bias=None if bias is None else bias * attributes.get("beta", 1.0))
    return None


class _AnyNorm(nn.Module):
    """Batch norm over (B, C), (B, C, H, W) alike, as ONNX has it."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) if x.ndim == 4 else self.norm(x[:, :, None, None]).flatten(1)


def _filled(module: nn.Module, **values: np.ndarray | None) -> nn.Module:
    with torch.no_grad():
        for name, value in values.items():
            if value is not None:
                getattr(module, name).copy_(
                    torch.from_numpy(np.array(value, np.float32)).reshape(-1).view_as(getattr(module, name))
                )
    return module


def _pads(pads: list[int], auto: bytes) -> tuple[int, int]:
    top, left, bottom, right = pads
    if auto not in (b"NOTSET", b"VALID") or (top, left) != (bottom, right):
        raise ContractError(f"a convolution pads {pads} ({auto.decode()}); only equal sides can be trained here")
    return (0, 0) if auto == b"VALID" else (top, left)


def _function(op: str, values: list[np.ndarray | None], attributes: Attributes) -> Callable[..., Tensor] | None:
    """The function of a node without weights; attributes are bound to it."""
    if op not in FUNCTIONS:
        return None
    make = FUNCTIONS[op]
    return lambda *inputs: make(attributes, *inputs)


def _pool(kind: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def pool(a: Attributes, x: Tensor) -> Tensor:
        extra = {"count_include_pad": bool(a.get("count_include_pad", 0))} if kind is F.avg_pool2d else {}
        padding = _pads(a.get("pads", [0, 0, 0, 0]), a.get("auto_pad", b"NOTSET"))
        stride = tuple(a.get("strides", (1, 1)))
        return kind(x, tuple(a["kernel_shape"]), stride, padding, ceil_mode=bool(a.get("ceil_mode", 0)), **extra)

    return pool


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    wanted = [x.shape[i] if d == 0 and not a.get("allowzero") else d for i, d in enumerate(shape.tolist())]
    return x.reshape([x.shape[0], *wanted[1:]] if wanted and wanted[0] == 1 and x.ndim > 1 else wanted)


def _slice(
    a: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    chosen = [slice(None)] * x.ndim
    where = axes.tolist() if axes is not None else range(len(starts))
    for number, axis in enumerate(where):
        step = int(steps[number]) if steps is not None else 1
        if step < 1:
            raise ContractError("a slice that runs backwards cannot be trained here")
        chosen[axis] = slice(int(starts[number]), int(ends[number]), step)
    return x[tuple(chosen)]


def _gather(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = a.get("axis", 0)
    if indices.ndim == 1:
        return x.index_select(axis, indices % x.shape[axis])
    return x.select(axis, int(indices)) if indices.ndim == 0 else x[(slice(None),) * axis + (indices,)]


def _axes(a: Attributes, given: Tensor | None) -> list[int]:
    return [int(v) for v in (given.tolist() if given is not None else a.get("axes", []))]


def _mean(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.mean(_axes(a, axes) or list(range(x.ndim)), keepdim=bool(a.get("keepdims", 1)))


def _squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    where = _axes(a, axes)
    return x.squeeze(tuple(where)) if where else x.squeeze()


def _unsqueeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    for axis in sorted(_axes(a, axes)):
        x = x.unsqueeze(axis)
    return x


def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = a.get("min") if low is None else low.item()
    return x.clamp(least, a.get("max") if high is None else high.item())


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _pool(F.avg_pool2d),
    "Clip": _clip,
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Div": lambda a, x, y: x / y,
    "Dropout": lambda a, x, *_: x,
    "Flatten": lambda a, x: x.flatten(1),
    "Gather": _gather,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "Identity": lambda a, x: x,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "LpNormalization": lambda a, x: F.normalize(x, p=a.get("p", 2), dim=a.get("axis", -1)),
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": _pool(F.max_pool2d),
    "Mul": lambda a, x, y: x * y,
    "Pow": lambda a, x, y: x**y,
    "ReduceMean": _mean,
    "Relu": lambda a, x: x.relu(),
    "Reshape": _reshape,
    "Sigmoid": lambda a, x: x.sigmoid(),
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
    "Slice": _slice,
    "Sqrt": lambda a, x: x.sqrt(),
    "Squeeze": _squeeze,
    "Sub": lambda a, x, y: x - y,
    "Tanh": lambda a, x: x.tanh(),
    "Transpose": lambda a, x: x.permute(*a["perm"]),
    "Unsqueeze": _unsqueeze,
}
