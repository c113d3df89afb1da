"""The runtime on real photographs and published weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import vultus
from vultus.faces import find_photographs
from vultus.recognizer import write_card
from vultus.recognizer.convert import to_float16, to_int8
from vultus.recognizer.pixels import to_pixels
from vultus.workflows.export import _changed
from vultus.zoo import canonical_digest, sanitise

IMAGENET = {"dim": 128, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "color": "RGB"}


@pytest.fixture(scope="module")
def crops(shared: Path) -> np.ndarray:
    """150 crops of 30 people, five each."""
    recognizer = vultus.load_recognizer("sface")
    folders = [p for p in sorted((shared / "faces").iterdir()) if p.is_dir() and len(find_photographs(p)) >= 5][:30]
    found = recognizer.faces_of((p for f in folders for p in find_photographs(f)[:5]), select="center")
    return np.stack([faces[0].crop for faces in found])  # type: ignore[arg-type]


def test_many_photographs_at_once_are_each_by_itself(shared: Path) -> None:
    recognizer = vultus.load_recognizer("sface")
    stills = sorted((shared / "images" / "bbt" / "group").glob("*.jpg"))
    images = [*stills[:3], *find_photographs(shared / "faces")[:3], stills[3]]
    together = recognizer.faces_of(images)
    assert len(together) == len(images) and sum(map(len, together)) > 8
    for image, found in zip(images, together, strict=True):
        alone = recognizer.faces(image)
        assert len(alone) == len(found)
        for one, other in zip(alone, found, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=0.1)
    everyone = [face for faces in together for face in faces]
    one_by_one = np.concatenate([recognizer.embed([face]) for face in everyone])
    np.testing.assert_allclose(recognizer.embed(everyone), one_by_one, atol=1e-5)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_sface_is_exact_in_every_runtime(backend: str, crops: np.ndarray) -> None:
    """Against the network as it is published, in plain onnxruntime without our rewriting."""
    import onnxruntime

    from vultus.zoo import find_file, model_file

    recognizer = vultus.load_recognizer("sface", backend=backend)  # type: ignore[arg-type]
    network = sanitise(onnx.load(str(find_file(model_file("sface", "recognizer")))))
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = to_pixels(list(crops[:40]), recognizer.contract)
    raw = np.asarray(session.run(None, {network.graph.input[0].name: pixels})[0]).reshape(40, -1)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(recognizer.embed(crops[:40]), raw, atol=1e-5)


@pytest.mark.slow
def test_a_published_network_keeps_recognising_in_int8_and_float16(
    shared: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    """MobileFaceNet (opset 11, batch of one): ranges from 12 people, measured on 18 others."""
    path = tmp_path / "net.onnx"
    path.write_bytes((shared / "weights" / "mobilefacenet_112x112" / "mobilefacenet.onnx").read_bytes())
    path.with_suffix(".contract.json").write_text(json.dumps(IMAGENET))
    exact = vultus.load_recognizer(path)
    network, labels = sanitise(onnx.load(str(path))), np.repeat(np.arange(18), 5)
    small = to_int8(network, to_pixels(list(crops[:60]), exact.contract))
    half = to_float16(network)
    mated = (labels[:, None] == labels) & ~np.eye(90, dtype=bool)
    other = labels[:, None] != labels

    def share_above_strangers(recognizer: vultus.Recognizer) -> float:
        rows = recognizer.embed(crops[60:])
        scores = rows @ rows.T
        return float((scores[mated] > np.quantile(scores[other], 0.99)).mean())

    wanted = share_above_strangers(exact)
    assert wanted > 0.95
    for model, precision, cosine in ((small, "int8", 0.95), (half, "float16", 0.9999)):
        card = _changed(exact.card, weights=canonical_digest(model), precision=precision)
        write_card(model, card, tmp_path / f"{precision}.onnx")
        for backend in ("onnxruntime", "openvino"):
            found = vultus.load_recognizer(tmp_path / f"{precision}.onnx", backend=backend)  # type: ignore[arg-type]
            assert ((found.embed(crops[60:]) * exact.embed(crops[60:])).sum(1) > cosine).all()
            assert share_above_strangers(found) > wanted - 0.02
    assert small.ByteSize() < 0.35 * network.ByteSize() and half.ByteSize() < 0.55 * network.ByteSize()
