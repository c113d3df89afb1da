"""float16, int8, OpenVINO's and ExecuTorch's files: what comes out still gives the network's embeddings."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import openvino
import pytest
import torch

from vultus.errors import ContractError, VultusError
from vultus.models.crops import embed_crops
from vultus.recognizer import load_recognizer, write_card
from vultus.recognizer.convert import to_float16, to_int8
from vultus.recognizer.openvino_ir import write_ir
from vultus.recognizer.phone import run_executorch, to_executorch
from vultus.recognizer.pixels import to_pixels
from vultus.workflows.export import _changed, export
from vultus.zoo import canonical_digest


def saved(model: onnx.ModelProto, precision: str, like: Path, path: Path) -> Path:
    card = _changed(load_recognizer(like).card, weights=canonical_digest(model), precision=precision)
    write_card(model, card, path)
    return path


@pytest.fixture(scope="module")
def quantised(lively_file: Path, drawn_crops: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    contract = load_recognizer(lively_file).contract
    model = to_int8(onnx.load(str(lively_file)), to_pixels(list(drawn_crops), contract))
    return saved(model, "int8", lively_file, tmp_path_factory.mktemp("int8") / "int8.onnx")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_int8_is_small_and_near(backend: str, quantised: Path, lively_file: Path, drawn_crops: np.ndarray) -> None:
    recognizer = load_recognizer(quantised, backend=backend)  # type: ignore[arg-type]
    assert ((recognizer.embed(drawn_crops) * load_recognizer(lively_file).embed(drawn_crops)).sum(1) > 0.98).all()
    assert quantised.stat().st_size < 0.4 * lively_file.stat().st_size
    np.testing.assert_allclose(recognizer.embed(drawn_crops)[:1], recognizer.embed(drawn_crops[:1]), atol=1e-5)


def test_int8_has_a_scale_for_each_channel_of_a_convolution(quantised: Path) -> None:
    model = onnx.load(str(quantised))
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    quantisers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    scales = [shapes[quantisers[node.input[1]].input[1]] for node in convolutions]
    assert convolutions and all(len(scale) == 1 and scale[0] > 1 for scale in scales)


def test_the_quantiser_reports_to_nobody(quantised: Path) -> None:
    """NNCF sends usage to its makers unless told not to, before its first import."""
    from unittest.mock import MagicMock

    from nncf.telemetry.wrapper import telemetry

    assert isinstance(telemetry, MagicMock) or "Mock" in type(telemetry).__name__


def test_float16_is_half_and_nearly_the_same(lively_file: Path, drawn_crops: np.ndarray, tmp_path: Path) -> None:
    path = saved(to_float16(onnx.load(str(lively_file))), "float16", lively_file, tmp_path / "half.onnx")
    wanted = load_recognizer(lively_file).embed(drawn_crops)
    for backend in ("onnxruntime", "openvino"):
        found = load_recognizer(path, backend=backend).embed(drawn_crops)  # type: ignore[arg-type]
        assert ((found * wanted).sum(1) > 0.9999).all() and np.abs(found - wanted).max() > 0
    assert path.stat().st_size < 0.6 * lively_file.stat().st_size


def test_every_file_is_valid_onnx_and_opens_in_other_runtimes(
    lively_file: Path, quantised: Path, drawn_crops: np.ndarray, tmp_path: Path
) -> None:
    half = saved(to_float16(onnx.load(str(lively_file))), "float16", lively_file, tmp_path / "half.onnx")
    for path in (lively_file, half, quantised):
        onnx.checker.check_model(onnx.load(str(path)), full_check=True)
        openvino.Core().read_model(str(path))
    pixels = to_pixels(list(drawn_crops[:2]), load_recognizer(half).contract)
    for path in (lively_file, half):
        network = cv2.dnn.readNetFromONNX(str(path))
        network.setInput(pixels)
        rows = network.forward().astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        assert ((rows * load_recognizer(path).embed(drawn_crops[:2])).sum(1) > 0.999).all(), path


def test_onnxruntime_also_runs_a_float16_file_as_it_is(
    lively_file: Path, drawn_crops: np.ndarray, tmp_path: Path
) -> None:
    """We widen it for CPUs; others will not. Input and output stay float32."""
    import onnxruntime

    path = saved(to_float16(onnx.load(str(lively_file))), "float16", lively_file, tmp_path / "half.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == session.get_outputs()[0].type == "tensor(float)"
    recognizer = load_recognizer(path)
    raw = np.asarray(session.run(None, {"crops": to_pixels(list(drawn_crops), recognizer.contract)})[0])
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    assert ((raw * recognizer.embed(drawn_crops)).sum(1) > 0.9999).all()


def test_an_openvino_file_is_the_same_recogniser(lively_file: Path, drawn_crops: np.ndarray, tmp_path: Path) -> None:
    export(lively_file, tmp_path / "m.xml")
    found, wanted = load_recognizer(tmp_path / "m.xml"), load_recognizer(lively_file)
    assert found.backend == "openvino" and found.contract.id == wanted.contract.id and found.card == wanted.card
    np.testing.assert_allclose(found.embed(drawn_crops), wanted.embed(drawn_crops), atol=2e-5)


def test_an_openvino_file_with_other_weights_is_refused(lively_file: Path, tmp_path: Path) -> None:
    write_ir(onnx.load(str(lively_file)), load_recognizer(lively_file).card, tmp_path / "m.xml")
    content = bytearray((tmp_path / "m.bin").read_bytes())
    content[100] ^= 1
    (tmp_path / "m.bin").write_bytes(content)
    with pytest.raises(ContractError, match="export the model again"):
        load_recognizer(tmp_path / "m.xml")
    (tmp_path / "m.bin").unlink()
    with pytest.raises(VultusError, match="keep them together"):
        load_recognizer(tmp_path / "m.xml")
    (tmp_path / "broken.xml").write_text("<net")
    (tmp_path / "broken.bin").write_bytes(b"")
    with pytest.raises(VultusError, match="no OpenVINO file"):
        load_recognizer(tmp_path / "broken.xml")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ExecuTorch's runtime is tried where it is deployed from")
def test_a_phone_gets_the_same_embeddings(lively_network: torch.nn.Module, drawn_crops: np.ndarray) -> None:
    from vultus.models.crops import normalise

    program = to_executorch(lively_network)
    raw = run_executorch(program, normalise(torch.from_numpy(drawn_crops)).numpy())
    found = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(found, embed_crops(lively_network, drawn_crops), atol=1e-4)


def test_values_beyond_float16_are_noticed(lively_file: Path, drawn_crops: np.ndarray) -> None:
    """Our runtime computes the file in float32 on a CPU; a GPU would find infinities."""
    pixels = to_pixels(list(drawn_crops[:2]), load_recognizer(lively_file).contract)
    model = onnx.load(str(lively_file))
    to_float16(model, pixels)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    for tensor in model.graph.initializer:
        if tensor.name == first.input[1]:
            large = onnx.numpy_helper.to_array(tensor) * 1e6
            tensor.CopyFrom(onnx.numpy_helper.from_array(large.astype(np.float32), tensor.name))
    with pytest.raises(VultusError, match="does not work in float16"):
        to_float16(model, pixels)
