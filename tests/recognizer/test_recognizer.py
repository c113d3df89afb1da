"""Model files that describe themselves: export, loading, refusing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from vultus.errors import ContractError, VultusError
from vultus.evaluation import Calibration, calibrate
from vultus.models import create_model
from vultus.recognizer import Card, Recognizer, export_onnx, load_recognizer, read_card, write_card

MEAN = STD = (127.5, 127.5, 127.5)
CROPS = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3)).astype(np.uint8)


def lively(name: str, dim: int) -> torch.nn.Module:
    """A network whose running statistics are not at their start."""
    torch.manual_seed(0)
    network = create_model(name, dim).train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(4, 3, 112, 112))
    return network.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    export_onnx(lively("tinyresnet", 64), path, name="tiny", licence="CC0-1.0")
    return path


@pytest.mark.parametrize("name", ["tinyresnet", "mobilefacenet", "iresnet18", "timm/mobilenetv3_small_100"])
def test_onnx_gives_torchs_embeddings(name: str, tmp_path: Path) -> None:
    network = lively(name, 32)
    export_onnx(network, tmp_path / "m.onnx", name="m", licence="test")
    ours = load_recognizer(tmp_path / "m.onnx").embed(CROPS)
    with torch.no_grad():
        pixels = torch.from_numpy(CROPS).permute(0, 3, 1, 2).float().sub(127.5).div(127.5)
        theirs = torch.nn.functional.normalize(network(pixels)).numpy()
    assert ((ours * theirs).sum(1) >= 0.9999).all()
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=1e-5)


def test_batch_size_changes_nothing(exported: Path) -> None:
    recognizer = load_recognizer(exported)
    many = recognizer.embed(np.concatenate([CROPS] * 8))
    one = np.concatenate([recognizer.embed(CROPS[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(many[-5:], one, atol=1e-5)
    assert recognizer.embed([]).shape == (0, 64)


def some_calibration(contract_id: str) -> Calibration:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return calibrate(rows, np.repeat(np.arange(20), 3), source="test", contract_id=contract_id)


def test_the_card_comes_back_and_a_calibration_keeps_the_contract(exported: Path, tmp_path: Path) -> None:
    recognizer = load_recognizer(exported)
    assert recognizer.name == "tiny" and recognizer.licence == "CC0-1.0" and recognizer.calibration is None
    card = recognizer.card.with_calibration(some_calibration(recognizer.contract.id))
    write_card(onnx.load(str(exported)), card, tmp_path / "calibrated.onnx")
    calibrated = load_recognizer(tmp_path / "calibrated.onnx")
    assert calibrated.contract.id == recognizer.contract.id
    assert calibrated.calibration == card.calibration


def test_a_calibration_of_another_model_is_refused(exported: Path) -> None:
    with pytest.raises(ContractError, match="calibrate this model"):
        load_recognizer(exported).card.with_calibration(some_calibration("vultus1-other"))


def test_changed_weights_no_longer_fit_their_card(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(str(exported))
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    content = bytearray(tensor.raw_data)
    content[2] ^= 1
    tensor.raw_data = bytes(content)
    onnx.save(model, str(tmp_path / "bent.onnx"))
    with pytest.raises(ContractError, match="weights are not those"):
        load_recognizer(tmp_path / "bent.onnx")


def test_an_edited_contract_is_noticed(exported: Path) -> None:
    card = read_card(onnx.load(str(exported)), "x")
    assert card is not None
    fields = json.loads(card.to_json())
    fields["contract"]["color"] = "BGR"
    with pytest.raises(ContractError, match="edited"):
        Card.from_json(json.dumps(fields), "x")


def foreign(path: Path, exported: Path) -> None:
    model = onnx.load(str(exported))
    del model.metadata_props[:]
    onnx.save(model, str(path))


def test_a_foreign_file_needs_a_side_file(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    foreign(path, exported)
    with pytest.raises(ContractError, match=r"foreign\.contract\.json"):
        load_recognizer(path)
    side = path.with_suffix(".contract.json")
    side.write_text(json.dumps({"dim": 64, "mean": MEAN, "std": STD, "color": "RGB"}))
    np.testing.assert_allclose(load_recognizer(path).embed(CROPS), load_recognizer(exported).embed(CROPS), atol=1e-6)
    side.write_text(json.dumps({"dim": 64, "mean": MEAN, "std": STD, "color": "BGR"}))
    swapped = load_recognizer(path).embed(CROPS[..., ::-1])
    np.testing.assert_allclose(swapped, load_recognizer(exported).embed(CROPS), atol=1e-6)
    side.write_text(json.dumps({"dim": 32, "mean": MEAN, "std": STD}))
    with pytest.raises(ContractError, match="64 numbers"):
        load_recognizer(path).embed(CROPS)


def test_what_is_no_crop_is_refused(exported: Path) -> None:
    recognizer = load_recognizer(exported)
    with pytest.raises(ContractError, match="face 1"):
        recognizer.embed([CROPS[0], CROPS[1].astype(np.float32)])  # type: ignore[list-item]


def test_an_embedding_that_is_no_direction_is_refused(exported: Path) -> None:
    model = onnx.load(str(exported))
    card = read_card(model, "x")
    assert card is not None
    poisoned = dataclasses.replace(card, contract=dataclasses.replace(card.contract, std=(1e-320,) * 3))
    with pytest.raises(ContractError, match="NaN"):
        Recognizer(model, poisoned).embed(CROPS)


@pytest.mark.parametrize(
    ("model", "words"),
    [("none.onnx", "does not exist"), ("sfce", "did you mean 'sface'"), ("broken.onnx", "no ONNX")],
)
def test_mistakes_are_named(model: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07rubbish")
    with pytest.raises(VultusError, match=words):
        load_recognizer(tmp_path / model if model.endswith(".onnx") else model)


def test_sface_ships_with_a_calibration() -> None:
    recognizer = load_recognizer("sface")
    assert recognizer.calibration is not None
    assert recognizer.calibration.contract_id == recognizer.contract.id
    assert 0.3 < recognizer.calibration.threshold_at(1e-3).score < 0.4
    assert recognizer.licence.startswith("Apache-2.0")
