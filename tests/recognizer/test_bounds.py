"""Model files that were made to harm: loops, huge tensors, odd cards. Only a VultusError may come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vultus.errors import ContractError, VultusError
from vultus.recognizer.card import Card
from vultus.zoo import Contract, canonical_digest, read_network, sanitise
from vultus.zoo.statement import read_side_file

IMAGE = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])
RESULT = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)


def saved(folder: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], **options: Any) -> Path:
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [IMAGE], [RESULT], initializers)
    path = folder / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], **options).SerializeToString()
    )
    return path


def loop(body: str = "Loop") -> onnx.NodeProto:
    """A loop of 2**62 turns that adds a number to itself."""
    inside = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    return helper.make_node(body, ["turns", "yes", "x"], ["y"], body=inside)


@pytest.mark.parametrize("kind", ["Loop", "Scan", "Anything"])
def test_a_network_that_loops_is_refused(tmp_path, kind):
    constants = {"turns": np.array(2**62), "yes": np.array(True)}
    with pytest.raises(ContractError) as caught:
        read_network(saved(tmp_path, [loop(kind)], constants))
    assert caught.value.code == "operators" and caught.value.fields["operator"] == kind


def test_functions_of_its_own_are_refused(tmp_path):
    twice = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    node = helper.make_node("Twice", ["x"], ["y"], domain="own")
    with pytest.raises(ContractError) as caught:
        read_network(saved(tmp_path, [node], {}, functions=[twice]))
    assert caught.value.code == "operators"


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("ConstantOfShape", ["big"], ["y"])],
        [helper.make_node("Expand", ["x", "wide"], ["y"])],
        [helper.make_node("Tile", ["x", "often"], ["y"])],
    ],
)
def test_a_huge_tensor_is_refused(tmp_path, nodes):
    constants = {"big": np.array([2**20, 2**20]), "wide": np.array([2**14, 3, 112, 112])}
    constants["often"] = np.array([1, 1, 2**10, 2**10])
    with pytest.raises(ContractError) as caught:
        read_network(saved(tmp_path, nodes, constants))
    assert caught.value.code == "too_large"


def test_weights_beside_the_file_lie_beside_it(tmp_path):
    weights = np.arange(64 * 3 * 9, dtype=np.float32).reshape(64, 3, 3, 3)
    path = saved(tmp_path, [helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weights})
    inside = read_network(path)
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    assert canonical_digest(read_network(path)) == canonical_digest(inside)
    model = onnx.load(str(path), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(VultusError) as caught:
        read_network(path)
    assert caught.value.code == "malformed"


def test_damaged_files_are_one_line(tmp_path):
    content = saved(tmp_path, [helper.make_node("Conv", ["x", "w"], ["y"])], {"w": np.ones((4, 3, 3, 3), np.float32)})
    whole, random = content.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 1 + int(random.integers(4))):
            damaged[place] = int(random.integers(256))
        content.write_bytes(damaged[: int(random.integers(1, len(whole) + 1))] if random.random() < 0.3 else damaged)
        try:
            canonical_digest(sanitise(read_network(content)))
        except VultusError as error:
            assert "\n" not in str(error)


CONTRACT = Contract("0" * 64, 64, (127.5,) * 3, (127.5,) * 3)
CARD = json.loads(Card("mine", CONTRACT, "MIT", {"ancestry": [{"name": "a", "licence": "b"}], "seen": None}).to_json())
ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1.5,
        10**400,
        2**63,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\ud800",
        [],
        [1],
        [[[]]],
        {},
        {"a": 1},
    ]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    if by is None and len(path) == 1 and isinstance(copy, dict):
        del copy[path[0]]
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], by)
    return copy


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10**6), ODD), min_size=1, max_size=3))
def test_an_odd_card_is_an_error_of_ours(changes):
    card: Any = CARD
    for number, odd in changes:
        there = places(card)
        card = changed(card, there[number % len(there)], odd)
    try:
        read = Card.from_json(json.dumps(card), "model.onnx")
    except VultusError as error:
        assert "\n" not in str(error)
    else:
        assert read.contract.id == Card.from_json(read.to_json(), "model.onnx").contract.id


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, "\x00", "nul", "NaN", '"\\ud800"', "[1,"]
)
def test_deep_and_broken_json_is_one_line(tmp_path, text):
    with pytest.raises(ContractError):
        Card.from_json(text, "model.onnx")
    (tmp_path / "m.contract.json").write_text(text)
    with pytest.raises(ContractError):
        read_side_file(tmp_path / "m.contract.json", "m.onnx", "")
