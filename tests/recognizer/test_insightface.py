"""Our files in the unmodified `insightface` package: its ArcFaceONNX must give our embeddings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from insightface.model_zoo import get_model
from insightface.model_zoo.arcface_onnx import ArcFaceONNX

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.models import create_model
from vultus.recognizer import load_recognizer, write_card
from vultus.recognizer.compatible import compatible
from vultus.workflows import export
from vultus.zoo import Preprocessing

IMAGENET = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@pytest.fixture(scope="module")
def crops(procedural: Path) -> np.ndarray:
    return FaceDataset.open(procedural / "val").crops(range(6))


def written(path: Path, how: Preprocessing, tmp_path: Path) -> Path:
    from vultus.recognizer import export_onnx

    torch.manual_seed(0)
    square = how.crop_size == (112, 112)
    network = create_model("tinyresnet" if square else "timm/mobilenetv3_small_100", 32).train()
    with torch.no_grad():
        network(torch.randn(8, 3, *how.crop_size))
    network.preprocessing = how  # type: ignore[assignment]
    export_onnx(network, tmp_path / path, name="net", licence="CC0-1.0")
    return tmp_path / path


def theirs(path: Path, crops: np.ndarray) -> np.ndarray:
    """As insightface does it: photographs are BGR, embeddings come out with any length."""
    model = get_model(str(path), providers=["CPUExecutionProvider"])
    assert isinstance(model, ArcFaceONNX)
    rows = model.get_feat([crop[..., ::-1] for crop in crops])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_an_ordinary_export_is_compatible_as_it_is(crops: np.ndarray, tmp_path: Path) -> None:
    path = written(Path("plain.onnx"), Preprocessing(), tmp_path)
    np.testing.assert_allclose(theirs(path, crops), load_recognizer(path).embed(crops), atol=2e-5)
    export(path, tmp_path / "again.onnx", compatible="insightface")
    assert load_recognizer(tmp_path / "again.onnx").contract.id == load_recognizer(path).contract.id


@pytest.mark.parametrize(
    "how",
    [
        IMAGENET,
        dataclasses.replace(Preprocessing(), std=(128.0,) * 3),
        dataclasses.replace(Preprocessing(), color="BGR"),
        dataclasses.replace(IMAGENET, color="BGR", crop_size=(112, 96)),
    ],
    ids=["imagenet", "std128", "bgr", "middle"],
)
def test_other_preprocessing_moves_into_the_graph(how: Preprocessing, crops: np.ndarray, tmp_path: Path) -> None:
    path = written(Path("net.onnx"), how, tmp_path)
    wanted = load_recognizer(path).embed(crops)
    if how.crop_size == (112, 112):
        plain = theirs(path, crops)
        assert np.abs(plain - wanted).max() > 1e-3  # wrong without help, or the test would show nothing
    export(path, tmp_path / "moved.onnx", compatible="insightface")
    np.testing.assert_allclose(theirs(tmp_path / "moved.onnx", crops), wanted, atol=2e-5)
    moved = load_recognizer(tmp_path / "moved.onnx")
    np.testing.assert_allclose(moved.embed(crops), wanted, atol=2e-5)
    assert moved.contract.id != load_recognizer(path).contract.id and moved.contract.mean == (0.0,) * 3


def test_nodes_of_the_networks_own_do_not_mislead_it(crops: np.ndarray, tmp_path: Path) -> None:
    """Names are free in ONNX: a network that begins with its own Sub and Mul would get the wrong mean."""
    path = written(Path("net.onnx"), Preprocessing(), tmp_path)
    model = onnx.load(str(path))
    card = load_recognizer(path).card
    model.graph.node[0].name, model.graph.node[1].name = "Sub_first", "Mul_second"
    write_card(model, card, tmp_path / "misleading.onnx")
    wanted = load_recognizer(path).embed(crops)
    assert np.abs(theirs(tmp_path / "misleading.onnx", crops) - wanted).max() > 1e-3
    export(tmp_path / "misleading.onnx", tmp_path / "mended.onnx", compatible="insightface")
    np.testing.assert_allclose(theirs(tmp_path / "mended.onnx", crops), wanted, atol=2e-5)


def test_sface_is_right_as_it_is_and_keeps_its_thresholds(crops: np.ndarray, tmp_path: Path) -> None:
    wanted = load_recognizer("sface")
    for package in ("insightface", "opencv"):
        card = export("sface", tmp_path / f"{package}.onnx", compatible=package)
        assert card.contract == wanted.contract and card.calibration == wanted.calibration is not None
    np.testing.assert_allclose(theirs(tmp_path / "insightface.onnx", crops), wanted.embed(crops), atol=2e-5)
    np.testing.assert_allclose(opencvs(tmp_path / "opencv.onnx", crops), wanted.embed(crops), atol=2e-4)


def opencvs(path: Path, crops: np.ndarray) -> np.ndarray:
    """As OpenCV's samples do it: a BGR crop of 112x112 in, a row out."""
    recognizer = cv2.FaceRecognizerSF.create(str(path), "")
    rows = np.concatenate([recognizer.feature(np.ascontiguousarray(crop[..., ::-1])) for crop in crops])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "how", [Preprocessing(), dataclasses.replace(Preprocessing(), color="BGR")], ids=["rgb", "bgr"]
)
def test_a_network_of_ours_in_opencv(how: Preprocessing, crops: np.ndarray, tmp_path: Path) -> None:
    path = written(Path("net.onnx"), how, tmp_path)
    wanted = load_recognizer(path).embed(crops)
    export(path, tmp_path / "cv.onnx", compatible="opencv")
    np.testing.assert_allclose(opencvs(tmp_path / "cv.onnx", crops), wanted, atol=2e-4)
    np.testing.assert_allclose(load_recognizer(tmp_path / "cv.onnx").embed(crops), wanted, atol=2e-5)


def test_what_it_cannot_run_is_refused(tmp_path: Path) -> None:
    path = written(Path("net.onnx"), Preprocessing(), tmp_path)
    large = dataclasses.replace(load_recognizer(path).contract, crop_size=(160, 160))
    with pytest.raises(VultusError, match="160x160"):
        compatible(onnx.load(str(path)), large, "insightface")
    with pytest.raises(VultusError, match="--flip"):
        export(path, tmp_path / "x.onnx", compatible="insightface", flip=True)
    assert not (tmp_path / "x.onnx").exists()
