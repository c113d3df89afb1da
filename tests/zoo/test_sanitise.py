"""Foreign ONNX files: what sanitise mends, and that it changes no result."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus.errors import ContractError
from vultus.zoo import ZOO, canonical_digest, find_file, sanitise
from vultus.zoo.sanitise import dequantise


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def tiny(weights: np.ndarray, names: str = "abc") -> onnx.ModelProto:
    """conv -> reshape to (1, -1), with an input that nothing reads."""
    image, weight, out = names
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [image, weight], ["hidden"], kernel_shape=[2, 2]),
            helper.make_node("Reshape", ["hidden", "shape"], [out]),
        ],
        "g",
        [
            helper.make_tensor_value_info(image, TensorProto.FLOAT, [1, 3, 4, 4]),
            helper.make_tensor_value_info("leftover", TensorProto.FLOAT, [5]),
        ],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [1, 18])],
        [
            numpy_helper.from_array(weights, weight),
            numpy_helper.from_array(np.array([1, -1], np.int64), "shape"),
            numpy_helper.from_array(np.zeros(3, np.float32), "unused"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


WEIGHTS = np.random.default_rng(0).normal(size=(2, 3, 2, 2)).astype(np.float32)


def test_the_batch_becomes_dynamic_and_leftovers_go() -> None:
    mended = sanitise(tiny(WEIGHTS))
    assert [value.name for value in mended.graph.input] == ["a"]
    assert {tensor.name for tensor in mended.graph.initializer} == {"b", "shape"}
    images = np.random.default_rng(1).normal(size=(5, 3, 4, 4)).astype(np.float32)
    together = session(mended).run(None, {"a": images})[0]
    alone = [session(mended).run(None, {"a": image[None]})[0] for image in images]
    assert together.shape == (5, 18)
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5)


def test_the_input_is_left_as_it_was() -> None:
    model = tiny(WEIGHTS)
    before = model.SerializeToString()
    sanitise(model)
    assert model.SerializeToString() == before


def test_a_network_with_two_images_is_refused() -> None:
    model = tiny(WEIGHTS)
    model.graph.node.append(helper.make_node("Identity", ["leftover"], ["second"]))
    with pytest.raises(ContractError, match="one image input"):
        sanitise(model)


@pytest.mark.parametrize(("axis", "block", "scales"), [(0, 0, ()), (1, 0, (6,)), (1, 2, (4, 3)), (0, 3, (2, 6))])
def test_dequantise_agrees_with_a_plain_loop(axis: int, block: int, scales: tuple[int, ...]) -> None:
    random = np.random.default_rng(2)
    q = random.integers(-128, 128, (4, 6)).astype(np.int8)
    scale = np.asarray(random.uniform(0.01, 0.1, scales), np.float32)
    zero = np.asarray(random.integers(-9, 9, scales), np.int8)
    expected = np.empty((4, 6), np.float32)
    for row in range(4):
        for column in range(6):
            place = [row, column]
            if not scales:
                index: tuple[int, ...] = ()
            elif block:
                place[axis] //= block
                index = tuple(place)
            else:
                index = (place[axis],)
            expected[row, column] = (float(q[row, column]) - float(zero[index])) * scale[index]
    np.testing.assert_allclose(dequantise(q, scale, zero, axis, block), expected, rtol=1e-6)


def test_block_quantised_weights_fold_to_what_they_mean() -> None:
    quantised, scale = np.arange(-12, 12).astype(np.int8).reshape(2, 12), np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    model = tiny(WEIGHTS)
    del model.graph.initializer[0]
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(quantised, "q"),
            numpy_helper.from_array(scale, "scale"),
            numpy_helper.from_array(np.array([2, 3, 2, 2], np.int64), "full"),
        ]
    )
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["flat"], axis=1, block_size=6),
        helper.make_node("Reshape", ["flat", "full"], ["b"]),
        *model.graph.node,
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    mended = sanitise(model)
    meant = (quantised * np.repeat(scale, 6, axis=1)).reshape(2, 3, 2, 2).astype(np.float32)
    assert [node.op_type for node in mended.graph.node] == ["Conv", "Reshape"]
    image = np.ones((1, 3, 4, 4), np.float32)
    expected = session(sanitise(tiny(meant))).run(None, {"a": image})[0]
    np.testing.assert_allclose(session(mended).run(None, {"a": image})[0], expected, rtol=1e-5)


def test_the_digest_sees_weights_and_nothing_else() -> None:
    plain = sanitise(tiny(WEIGHTS))
    renamed = sanitise(tiny(WEIGHTS, names="xyz"))
    onnx.helper.set_model_props(renamed, {"calibration": "new"})
    renamed.producer_name = "somebody"
    changed = WEIGHTS.copy()
    changed[0, 0, 0, 0] = np.nextafter(changed[0, 0, 0, 0], 9)
    assert canonical_digest(plain) == canonical_digest(renamed)
    assert canonical_digest(plain) != canonical_digest(sanitise(tiny(changed)))


@pytest.mark.parametrize("name", ["yunet", "sface"])
def test_the_bundled_files_load_and_take_batches(name: str) -> None:
    model = onnx.load(str(find_file(ZOO[name], download=False)))
    mended = session(sanitise(model, dynamic_size=name == "yunet"))
    height, width = (64, 96) if name == "yunet" else (112, 112)
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, height, width)).astype(np.float32)
    together = mended.run(None, {mended.get_inputs()[0].name: images})
    alone = mended.run(None, {mended.get_inputs()[0].name: images[1:2]})
    for many, one in zip(together, alone, strict=True):
        assert many.shape[0] == 3
        np.testing.assert_allclose(many[1:2], one, rtol=1e-3, atol=1e-3)
