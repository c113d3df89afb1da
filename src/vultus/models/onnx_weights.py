"""ONNX initialisers onto our own modules: a published ONNX becomes a trainable network again.

Layers are matched by kind and shape, in the order in which both networks run them. An export folds batch norms into
the convolutions before them; such a norm gets the convolution's bias and passes everything else through unchanged, and
`folded.py` gives it statistics again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
PRODUCTS = (nn.Conv2d, nn.Linear)
Signature = tuple[object, ...]


@dataclass
class _Node:
    """An ONNX node with weights: a product with its bias, or a norm, or a slope."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    norm: _Norm | None = None


@dataclass
class _Norm:
    scale: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    eps: float


@dataclass
class OnnxLayers:
    """The weighted layers of an ONNX graph by signature, each in the order of the graph."""

    products: dict[Signature, list[_Node]] = field(default_factory=lambda: defaultdict(list))
    norms: dict[Signature, list[_Norm]] = field(default_factory=lambda: defaultdict(list))
    """Norms that follow no product: those before an activation, which no export folds."""
    slopes: dict[Signature, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))

    @property
    def product_shapes(self) -> list[Signature]:
        return sorted((key for key, nodes in self.products.items() for _ in nodes), key=str)


def read_layers(model: onnx.ModelProto) -> OnnxLayers:
    """Walk a sanitised graph once."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    layers, producers = OnnxLayers(), {}
    for node in model.graph.node:
        values = [constants.get(name) for name in node.input]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        made = producers.get(node.input[0]) if node.input else None
        weight = values[1] if len(values) > 1 else None
        if node.op_type == "Conv" and weight is not None:
            made = _Node(weight, values[2] if len(values) > 2 else None)
            layers.products[("conv", *weight.shape)].append(made)
        elif node.op_type == "Gemm" and weight is not None:
            made = _Node(weight if attributes.get("transB") else weight.T, values[2] if len(values) > 2 else None)
            layers.products[("linear", *made.weight.shape)].append(made)
        elif node.op_type == "MatMul" and weight is not None and weight.ndim == 2:
            made = _Node(weight.T)
            layers.products[("linear", *made.weight.shape)].append(made)
        elif node.op_type == "Add" and made is not None and made.bias is None and weight is not None:
            made.bias = weight  # MatMul with its bias
        elif node.op_type == "BatchNormalization":
            scale, shift, mean, variance = (np.asarray(v) for v in values[1:5])
            norm = _Norm(scale, shift, mean, variance, float(attributes.get("epsilon", 1e-5)))
            if made is not None and made.norm is None:
                made.norm = norm
            else:
                layers.norms[(len(norm.scale),)].append(norm)
            made = None
        elif node.op_type == "PRelu" and weight is not None:
            layers.slopes[(weight.size,)].append(weight.reshape(-1))
            made = None
        elif node.op_type not in ("Flatten", "Reshape", "Identity", "Squeeze", "Dropout"):
            made = None  # anything else stands between a product and its norm
        for name in node.output:
            producers[name] = made
    return layers


def product_shapes(network: nn.Module) -> list[Signature]:
    """The same of a torch network, to tell architectures apart; works on the meta device."""
    return sorted((_signature(m) for m in network.modules() if isinstance(m, PRODUCTS)), key=str)


def fill(network: nn.Module, layers: OnnxLayers, crop: Tensor) -> list[str] | None:
    """Load the layers into `network`, in place; `crop` (1, 3, h, w) is run once to learn the order of its modules.

    Returns:
        Names of the batch norms that the export had folded away; None where the graph has other layers than these.
    """
    names = {module: name for name, module in network.named_modules()}
    used: dict[Signature, int] = defaultdict(int)
    nodes: dict[nn.Module, _Node] = {}
    folded: list[str] = []

    def take(table: dict[Signature, list], key: Signature):
        index, used[(id(table), *key)] = used[(id(table), *key)], used[(id(table), *key)] + 1
        return table[key][index] if key in table and index < len(table[key]) else None

    with torch.no_grad():
        for module, before in execution_order(network, crop):
            if isinstance(module, PRODUCTS):
                node = take(layers.products, _signature(module))
                if node is None:
                    return None
                nodes[module] = node
                module.weight.copy_(torch.from_numpy(node.weight.copy()))
                if module.bias is not None:
                    module.bias.copy_(torch.from_numpy(node.bias.copy()) if node.bias is not None else torch.zeros(1))
            elif isinstance(module, NORMS):
                product = nodes.get(before) if before is not None else None
                norm = product.norm if product else take(layers.norms, (module.num_features,))
                if norm is not None:
                    _load_norm(module, norm)
                elif product is not None:
                    spare = product.bias if before is not None and before.bias is None else None
                    _pass_through(module, spare)
                    folded.append(names[module])
                else:
                    return None
            elif isinstance(module, nn.PReLU):
                slope = take(layers.slopes, (module.num_parameters,))
                if slope is None:
                    return None
                module.weight.copy_(torch.from_numpy(slope.copy()))
            else:
                return None  # a layer with weights that no convolutional recogniser has
    return folded


def execution_order(network: nn.Module, crop: Tensor) -> list[tuple[nn.Module, nn.Module | None]]:
    """Modules with weights of their own as one forward pass meets them, each with the product whose output it takes."""
    order: list[tuple[nn.Module, nn.Module | None]] = []
    outputs: dict[tuple[int, int], tuple[nn.Module, Tensor]] = {}  # the tensors are kept, so that no address is reused

    def met(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        made = outputs.get((inputs[0].data_ptr(), inputs[0].numel()))
        order.append((module, made[0] if made else None))
        if isinstance(module, PRODUCTS):
            outputs[output.data_ptr(), output.numel()] = (module, output)

    own = [m for m in network.modules() if next(m.parameters(recurse=False), None) is not None or isinstance(m, NORMS)]
    handles = [module.register_forward_hook(met) for module in own]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(crop)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return order


def _signature(module: nn.Module) -> Signature:
    kind = "conv" if isinstance(module, nn.Conv2d) else "linear"
    return (kind, *tuple(module.weight.shape))  # type: ignore[union-attr]


def _load_norm(module: nn.Module, norm: _Norm) -> None:
    assert isinstance(module, NORMS) and module.running_mean is not None and module.running_var is not None
    module.running_mean.copy_(torch.from_numpy(norm.mean.copy()))
    # another epsilon goes into the variance
    module.running_var.copy_(torch.from_numpy(norm.variance.copy()) + (norm.eps - module.eps))
    if module.affine:
        module.weight.copy_(torch.from_numpy(norm.scale.copy()))
        module.bias.copy_(torch.from_numpy(norm.bias.copy()))


def _pass_through(module: nn.Module, bias: np.ndarray | None) -> None:
    """A norm that only adds `bias`; without an affine part it takes the mean away instead."""
    assert isinstance(module, NORMS) and module.running_mean is not None and module.running_var is not None
    shift = torch.zeros_like(module.running_mean) if bias is None else torch.from_numpy(bias.copy())
    module.running_var.fill_(1 - module.eps)
    if module.affine:
        module.running_mean.zero_()
        module.weight.fill_(1)
        module.bias.copy_(shift)
    else:
        module.running_mean.copy_(-shift)
