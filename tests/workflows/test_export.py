"""Exports of recognisers: the guard, the model card, options that do not go together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from vultus.errors import VultusError
from vultus.models import create_model
from vultus.recognizer import export_onnx, load_recognizer, model_card
from vultus.workflows import export


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    trained = create_model("tinyresnet", 32).train()
    with torch.no_grad():
        for _ in range(3):
            trained(torch.randn(8, 3, 112, 112))
    path = tmp_path_factory.mktemp("export") / "net.onnx"
    chain = [{"name": "old|net", "licence": "MIT", "commercial_use": "allowed", "source": "x", "sha256": "ab" * 32}]
    facts = {"dataset": "somewhere", "images": 7, "identities": 3, "recipe": {"loss": "arcface"}, "ancestry": chain}
    export_onnx(trained, path, name="net", licence="CC0-1.0", provenance=facts)
    return path


def test_a_conversion_is_measured_and_says_so(network: Path, procedural: Path, tmp_path: Path) -> None:
    out = tmp_path / "half.onnx"
    card = export(network, out, precision="fp16", check_data=procedural / "val", calibrate_data=procedural / "test")
    source = load_recognizer(network)
    assert card.contract.precision == "float16" and card.contract.id != source.contract.id
    done, found = card.provenance["conversion"], card.provenance["measured"]
    assert done["from_contract"] == source.contract.id and done["check"]["max_loss"] == 0.5
    assert done["check"]["loss"] == pytest.approx(100 * (done["check"]["before"] - done["check"]["after"]))
    assert found["mated"] == 6 * 15 and [p["far"] for p in found["points"]] == [p["far"] for p in found["before"]]
    assert card.calibration is not None and card.calibration.contract_id == card.contract.id
    assert load_recognizer(out).card == card


def test_a_conversion_that_costs_too_much_is_refused(
    network: Path, procedural: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruin(model: onnx.ModelProto, pixels: np.ndarray) -> onnx.ModelProto:
        """Convolutions of zeros: everybody gets the same embedding."""
        broken = onnx.ModelProto()
        broken.CopyFrom(model)
        for tensor in broken.graph.initializer:
            if len(tensor.dims) == 4:
                zeros = np.zeros(tuple(tensor.dims), np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
        return broken

    monkeypatch.setattr(sys.modules["vultus.workflows.export"], "to_float16", ruin)
    options = {"precision": "fp16", "check_data": procedural / "test"}
    with pytest.raises(VultusError, match=r"float16 lowers TAR at FAR .* more than --max-loss 0\.5; nothing was"):
        export(network, tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())
    export(network, tmp_path / "m.onnx", **options, max_loss=100)
    assert (tmp_path / "m.onnx").is_file()


def test_the_card_of_a_model_tells_all(network: Path, procedural: Path, tmp_path: Path) -> None:
    card = export(
        network, tmp_path / "m.onnx", check_data=procedural / "val", calibrate_data=procedural / "calibration"
    )
    text = (tmp_path / "m.md").read_text()
    assert text == model_card(card)
    metadata = {entry.key: entry.value for entry in onnx.load(str(tmp_path / "m.onnx")).metadata_props}
    assert metadata["model_card"] == text
    for words in (
        card.contract.id,
        "Licence of this file: CC0-1.0",
        "old\\|net | MIT | allowed | x | " + "ab" * 32,
        "somewhere, 7 images of 3 identities",
        '"loss": "arcface"',
        "90 mated",
        "95 % interval",
        "figures say nothing about real people",
        "## Intended use",
        "## Not to be used",
        "FMR 0.1",
    ):
        assert words in text
    again = export(tmp_path / "m.onnx", tmp_path / "again.onnx")
    assert again == card and again.calibration is not None
    flipped = export(tmp_path / "m.onnx", tmp_path / "flipped.onnx", flip=True)
    assert flipped.calibration is None and "Not measured" in model_card(flipped)


@pytest.mark.slow
def test_int8_end_to_end_on_the_command_line(network: Path, procedural: Path, tmp_path: Path) -> None:
    words = ["export", str(network), "--out", str(tmp_path / "m.onnx"), "--precision", "int8", "--max-loss", "60"]
    words += ["--calibration-crops", str(procedural / "train"), "--check", str(procedural / "val")]
    done = subprocess.run([sys.executable, "-m", "vultus", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout.splitlines()[0] and "before" in done.stdout
    card = load_recognizer(tmp_path / "m.onnx").card
    assert card.provenance["conversion"]["calibration_crops"]["count"] == 120
    assert card.provenance["conversion"]["tool"].startswith("nncf ")
    with pytest.raises(VultusError, match="int8 already"):
        export(tmp_path / "m.onnx", tmp_path / "x.onnx", precision="fp16", check_data=procedural / "val")


def test_a_file_for_phones_carries_its_card_beside_it(network: Path, tmp_path: Path) -> None:
    card = export(network, tmp_path / "m.pte")
    assert json.loads((tmp_path / "m.json").read_text())["contract_id"] == card.contract.id
    assert (tmp_path / "m.pte").read_bytes()[4:6] == b"ET" and (tmp_path / "m.md").is_file()


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("m.tflite", {}, "must end in"),
        ("m.onnx", {"precision": "int4"}, "choose one of fp32, fp16, bf16, int8"),
        ("m.onnx", {"precision": "fp16"}, "--check DATA/val"),
        ("m.onnx", {"precision": "int8", "check_data": "val"}, "--calibration-crops DATA/train"),
        ("m.onnx", {"calibration_crops": "train"}, "no effect without --precision int8"),
        ("m.onnx", {"max_loss": 1.0}, "no effect without a lower"),
        ("m.pte", {"precision": "fp16", "check_data": "val"}, "fp32 only"),
        ("m.xml", {"compatible": "insightface"}, "runs .onnx files"),
        ("m.onnx", {"compatible": "dlib"}, "choose insightface or opencv"),
        ("m.onnx", {"precision": "int8", "calibration_crops": "test", "check_data": "val"}, "for measuring"),
        ("m.onnx", {"precision": "int8", "calibration_crops": "val", "check_data": "val"}, "shares 6 identities"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(
    out: str, options: dict, words: str, network: Path, procedural: Path, tmp_path: Path
) -> None:
    views = {
        key: procedural / value if key in ("check_data", "calibration_crops") else value
        for key, value in options.items()
    }
    with pytest.raises(VultusError, match=words):
        export(network, tmp_path / out, **views)
    assert not list(tmp_path.iterdir())
