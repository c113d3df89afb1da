"""A float32 network to float16 or int8. Whether the result still recognises people is for `workflows.export` to say."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from typing import Any

import numpy as np
import onnx
from onnx import version_converter

from vultus.errors import VultusError
from vultus.recognizer.cosines import row_cosines

PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}
"""Short names, as the command line takes them."""
CROPS = 300
"""Crops that int8 value ranges are taken from: NNCF's own default."""
HALF_COSINE = 0.999
"""Least cosine of an embedding computed in float16 to that in float32."""
OPSET = 17
"""Older graphs are brought here: scales by channel need opset 13."""


def to_float16(model: onnx.ModelProto, pixels: np.ndarray | None = None) -> onnx.ModelProto:
    """Weights and computation in float16, half the size; input and output stay float32.

    For GPUs and phones. Our runtime on a CPU computes such a file in float32 (see `optimise`), with its weights, so
    `pixels`, (N, 3, h, w) float32 of normalised crops, are once computed in float16 indeed.

    Raises `VultusError` where that gives no or other embeddings.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with _quiet():
        converted = convert_float_to_float16(model, keep_io_types=True)
    OnnxModel.graph_topological_sort(converted.graph)  # the converter puts its casts at the end
    if pixels is not None:
        _check_range(model, converted, pixels)
    return converted


def _check_range(model: onnx.ModelProto, converted: onnx.ModelProto, pixels: np.ndarray) -> None:
    """Compute in float16 for once, as a GPU or a phone will: values beyond 65,504 become infinite there."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    rows = []
    for each in (model, converted):
        session = onnxruntime.InferenceSession(each.SerializeToString(), options, providers=["CPUExecutionProvider"])
        raw = np.asarray(session.run(None, {session.get_inputs()[0].name: pixels})[0], np.float64)
        rows.append(raw.reshape(len(pixels), -1))
    cosine = row_cosines(*rows)
    if not (np.isfinite(rows[1]).all() and (cosine > HALF_COSINE).all()):
        raise VultusError(
            f"the network does not work in float16 (least cosine {np.nan_to_num(cosine.min(), nan=-1):.4f}): values "
            "leave its range; use bf16, int8 or fp32"
        )


def to_int8(model: onnx.ModelProto, pixels: np.ndarray) -> onnx.ModelProto:
    """Static quantisation (QDQ), weights by channel, by NNCF with its bias correction; about a quarter of the size.

    NNCF rather than onnxruntime's own tool, which has no bias correction: on a test split of LFW (TAR at FAR 1e-3) the
    latter took EdgeFace-XXS from 99.1 % to 98.1 % at best where as much was quantised, NNCF to 98.8 %; MobileFaceNet
    from 98.7 % to 98.4 %, NNCF to 98.7 %.
    Weights use seven bits, so that CPUs without VNNI, whose 16-bit sums saturate, compute the same.

    Args:
        pixels: (N, 3, h, w) float32, normalised real crops.

    Raises:
        ModuleNotFoundError: nncf is not installed (the extra `int8`).
        VultusError: the network cannot be quantised.
    """
    # NNCF reports its use to its makers without asking, unless this says that it runs in a test.
    os.environ.setdefault("NNCF_CI", "1")
    with _quiet():
        import nncf

        model = _modern(model)
        name = model.graph.input[0].name
        kinds = {node.op_type for node in model.graph.node}
        try:
            return nncf.quantize(
                model,
                nncf.Dataset([{name: pixels[i : i + 1]} for i in range(len(pixels))]),
                subset_size=len(pixels),
                preset=nncf.QuantizationPreset.MIXED,
                # attention and layer norms have outliers that plain ranges lose
                model_type=nncf.ModelType.TRANSFORMER if kinds & {"Softmax", "LayerNormalization"} else None,
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)[:160]
            raise VultusError(f"the network cannot be quantised to int8: {reason}") from None


def tool(precision: str) -> str | None:
    """Name and version of what `to_float16` or `to_int8` use."""
    from importlib.metadata import version

    package = {"float16": "onnxruntime", "int8": "nncf"}.get(precision)
    return f"{package} {version(package)}" if package else None


def _modern(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), OPSET)
    return model if opset >= 13 else version_converter.convert_version(model, OPSET)


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the tools' progress bars and notices off the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
