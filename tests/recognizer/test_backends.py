"""One recogniser over several runtimes: the same embeddings, from any number of threads."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from vultus.errors import ContractError, VultusError
from vultus.evaluation import Calibration, calibrate
from vultus.models.crops import embed_crops
from vultus.recognizer import Recognizer, load_recognizer, write_card
from vultus.recognizer.optimise import optimise
from vultus.recognizer.pixels import to_pixels
from vultus.zoo import Contract


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_runtime_gives_torchs_embeddings(
    backend: str, lively_file: Path, lively_network: torch.nn.Module, drawn_crops: np.ndarray
) -> None:
    recognizer = load_recognizer(lively_file, backend=backend)  # type: ignore[arg-type]
    assert recognizer.backend == backend
    ours = recognizer.embed(drawn_crops)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(ours, embed_crops(lively_network, drawn_crops), atol=2e-5)


def test_a_torch_network_is_a_recogniser_too(
    lively_file: Path, lively_network: torch.nn.Module, drawn_crops: np.ndarray
) -> None:
    card = load_recognizer(lively_file).card
    recognizer = Recognizer(None, card, network=lively_network)
    assert recognizer.backend == "torch"
    np.testing.assert_allclose(
        recognizer.embed(drawn_crops), load_recognizer(lively_file).embed(drawn_crops), atol=2e-5
    )


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_eight_threads_get_what_one_gets(
    backend: str, lively_file: Path, lively_network: torch.nn.Module, drawn_crops: np.ndarray
) -> None:
    """Each thread embeds other crops, in other batch sizes; a buffer shared by mistake would mix them up."""
    if backend == "torch":
        recognizer = Recognizer(None, load_recognizer(lively_file).card, network=lively_network)
    else:
        recognizer = load_recognizer(lively_file, backend=backend, threads=1)  # type: ignore[arg-type]
    parts = [drawn_crops[i : i + 1 + i % 4] for i in range(8)]
    alone = [recognizer.embed(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(6):
            for together, expected in zip(pool.map(recognizer.embed, parts), alone, strict=True):
                np.testing.assert_allclose(together, expected, atol=1e-5)


def test_flip_adds_the_mirror_image_and_is_another_contract(lively_file: Path, drawn_crops: np.ndarray) -> None:
    plain = load_recognizer(lively_file)
    flipped = load_recognizer(lively_file, flip=True)
    raw = [plain._raw(pixels_of(plain, crops)) for crops in (drawn_crops, drawn_crops[:, :, ::-1])]
    both = raw[0] + raw[1]
    np.testing.assert_allclose(
        flipped.embed(drawn_crops), both / np.linalg.norm(both, axis=1, keepdims=True), atol=1e-5
    )
    np.testing.assert_allclose(flipped.embed(drawn_crops), flipped.embed(drawn_crops[:, :, ::-1]), atol=1e-5)
    assert flipped.contract.flip and flipped.contract.id != plain.contract.id


def pixels_of(recognizer: Recognizer, crops: np.ndarray) -> np.ndarray:
    return to_pixels(list(crops), recognizer.contract)


def test_a_contract_without_flip_keeps_the_id_it_had() -> None:
    """The calibration that ships with sface names an id made before contracts knew of flip."""
    contract = Contract("w", 4, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0))
    assert "flip" not in contract.to_dict() and Contract.from_dict(contract.to_dict()) == contract
    flipped = dataclasses.replace(contract, flip=True)
    assert Contract.from_dict(json.loads(json.dumps(flipped.to_dict()))) == flipped
    with pytest.raises(ContractError, match="flip"):
        dataclasses.replace(contract, flip="yes")  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="precision"):
        dataclasses.replace(contract, precision="float8")


def test_bfloat16_is_asked_for_and_is_another_contract(lively_file: Path, drawn_crops: np.ndarray) -> None:
    exact = load_recognizer(lively_file)
    rounded = load_recognizer(lively_file, precision="bf16")
    assert rounded.backend == "openvino" and rounded.contract.precision == "bfloat16"
    assert rounded.contract.id != exact.contract.id
    assert ((rounded.embed(drawn_crops) * exact.embed(drawn_crops)).sum(1) > 0.999).all()


def test_thresholds_do_not_survive_a_change_of_contract(lively_file: Path, tmp_path: Path) -> None:
    recognizer = load_recognizer(lively_file)
    random = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    found = calibrate(random, np.repeat(np.arange(20), 3), source="x", contract_id=recognizer.contract.id)
    write_card(onnx.load(str(lively_file)), recognizer.card.with_calibration(found), tmp_path / "m.onnx")
    assert isinstance(load_recognizer(tmp_path / "m.onnx", flip=False).calibration, Calibration)
    assert load_recognizer(tmp_path / "m.onnx", flip=True).calibration is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "tensorrt"}, "onnxruntime, openvino"),
        ({"backend": "torch"}, "not ONNX"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "no bfloat16"),
        ({"precision": "int8"}, "vultus export --precision"),
    ],
)
def test_what_cannot_be_run_is_named(options: dict, words: str, lively_file: Path) -> None:
    with pytest.raises(VultusError, match=words):
        load_recognizer(lively_file, **options)


def test_a_network_that_does_not_fit_its_contract_fails_at_loading(lively_file: Path) -> None:
    card = load_recognizer(lively_file).card
    wrong = dataclasses.replace(card, contract=dataclasses.replace(card.contract, dim=33))
    with pytest.raises(ContractError, match="32 numbers"):
        Recognizer(onnx.load(str(lively_file)), wrong)


def small(slopes: np.ndarray) -> onnx.ModelProto:
    """Convolution, PRelu, convolution, all random."""
    random = np.random.default_rng(1)
    channels = len(slopes)
    weights = {
        "a": random.normal(size=(channels, 3, 3, 3)).astype(np.float32),
        "slope": slopes.astype(np.float32).reshape(-1, 1, 1),
        "b": random.normal(size=(4, channels, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["u"]),
        helper.make_node("PRelu", ["u", "slope"], ["v"]),
        helper.make_node("Conv", ["v", "b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("slopes", [[0.25, 0.0, -0.5, 1.0], [1.5, 0.2, -3.0, 0.9]], ids=["below 1", "above 1"])
def test_prelu_rewritten_for_the_blocked_layout_is_the_same_function(
    slopes: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    from vultus.recognizer import optimise as module

    monkeypatch.setattr(module, "BLOCKED", True)
    model = small(np.array(slopes))
    before = model.SerializeToString()
    faster = optimise(model)
    assert "PRelu" not in {node.op_type for node in faster.graph.node}
    assert model.SerializeToString() == before
    onnx.checker.check_model(faster)
    x = np.random.default_rng(2).normal(size=(3, 3, 12, 12)).astype(np.float32) * 5
    ours, theirs = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for m in (faster, model)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_the_rewriting_is_left_where_it_does_not_pay(monkeypatch: pytest.MonkeyPatch, lively_file: Path) -> None:
    from vultus.recognizer import optimise as module

    monkeypatch.setattr(module, "BLOCKED", False)
    model = small(np.full(4, 0.25))
    assert optimise(model) is model
