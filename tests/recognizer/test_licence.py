"""A published weight that forbids commercial use says so when it is loaded, and the card carries it along."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from vultus.recognizer import load_recognizer
from vultus.zoo import ZOO, ModelFile, licence
from vultus.zoo.download import sha256_of


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    """A network of three dimensions that the table knows and nobody may sell."""
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["crops"], ["mean"]), helper.make_node("Flatten", ["mean"], ["out"])],
        "g",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    entry = ModelFile(
        name="net",
        kind="recognizer",
        file="net.onnx",
        sha256=sha256_of(path),
        url="https://example.org/net.onnx",
        licence="CC-BY-NC-4.0 (its card)",
        about="test",
        commercial=False,
        preprocessing={"dim": 3, "mean": (0.0,) * 3, "std": (255.0,) * 3},
    )
    monkeypatch.setitem(ZOO, "net", entry)
    monkeypatch.setattr(licence, "_announced", set())
    return entry


@pytest.mark.parametrize("by_name", [True, False])
def test_it_is_said_and_recorded(
    published: ModelFile, tmp_path: Path, capsys: pytest.CaptureFixture[str], by_name: bool
) -> None:
    recognizer = load_recognizer("net", tmp_path) if by_name else load_recognizer(tmp_path / "net.onnx")
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("commercial use of net is forbidden: CC-BY-NC-4.0") == 1
    (link,) = recognizer.card.provenance["ancestry"]
    assert link["commercial_use"] == "forbidden" and link["sha256"] == published.sha256
    assert link["licence"] == published.licence and link["source"] == published.url
