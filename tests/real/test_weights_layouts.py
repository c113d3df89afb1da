"""Published weights load into our networks to the last name and shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vultus.errors import VultusError
from vultus.faces import align, find_photographs, load_detector, read_image, select_faces
from vultus.models import create_model
from vultus.models.crops import embed_crops
from vultus.models.inspect import inspect_file
from vultus.models.weights import load_weights
from vultus.recognizer import load_recognizer


@pytest.fixture(scope="module")
def people(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Twelve people, four photographs of each: crops and labels."""
    folders = [p for p in sorted((shared / "faces").iterdir()) if p.is_dir() and len(find_photographs(p)) >= 4][:12]
    crops = []
    for folder in folders:
        for image in map(read_image, find_photographs(folder)[:4]):
            (face,) = select_faces(load_detector().detect(image), image.shape[:2], "center")
            crops.append(align(image, face.landmarks))
    return np.stack(crops), np.repeat(np.arange(len(folders)), 4)


@pytest.mark.parametrize(
    ("name", "dim", "file", "key"),
    [
        ("mobilefacenet_112x96", 128, "mobilefacenet_112x96/068.ckpt", "net_state_dict"),
        ("mobilefacenet_relu6", 128, "mobilefacenet_112x112/mobilefacenet.pt", None),
        ("edgeface_xxs", 512, "edgeface/edgeface_xxs_dequant_fp32.pt", None),
        ("edgeface_xs", 512, "edgeface/edgeface_xs_dequant_fp32.pt", None),
    ],
)
def test_published_weights_load_strictly(shared: Path, name: str, dim: int, file: str, key: str | None):
    found = torch.load(shared / "weights" / file, map_location="cpu", weights_only=True)
    create_model(name, dim).load_state_dict(found[key] if key else found, strict=True)


def test_mobilefacenet_relu6_computes_what_its_onnx_file_does(shared: Path):
    """Names alone would not tell where an activation is missing or another is in its place."""
    import onnxruntime

    folder = shared / "weights" / "mobilefacenet_112x112"
    model = create_model("mobilefacenet_relu6", 128).eval()
    model.load_state_dict(torch.load(folder / "mobilefacenet.pt", map_location="cpu", weights_only=True))
    session = onnxruntime.InferenceSession(folder / "mobilefacenet.onnx", providers=["CPUExecutionProvider"])
    crop = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model(crop)
    (theirs,) = session.run(None, {session.get_inputs()[0].name: crop.numpy()})
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("file", "architecture", "size"),
    [
        ("sface/sface_2021dec_int8bq_clean.onnx", "graph", (112, 112)),
        ("mobilefacenet_112x112/mobilefacenet.onnx", "mobilefacenet_relu6", (112, 112)),
        ("mobilefacenet_112x112/mobilefacenet.pt", "mobilefacenet_relu6", (112, 112)),
        ("mobilefacenet_112x96/068.ckpt", "mobilefacenet_112x96", (112, 96)),
        ("edgeface/edgeface_xxs_dequant_fp32.pt", "edgeface_xxs", (112, 112)),
    ],
)
def test_published_files_are_recognised_and_tell_people_apart(
    shared: Path, people: tuple[np.ndarray, np.ndarray], file: str, architecture: str, size: tuple[int, int]
):
    loaded = load_weights(shared / "weights" / file)
    assert loaded.architecture == architecture and loaded.preprocessing.crop_size == size
    assert loaded.assumed == (architecture != "graph"), "of these only SFace's contract is in the table"
    crops, labels = people
    rows = embed_crops(loaded.network, crops)
    scores, same = rows @ rows.T, labels[:, None] == labels
    mated, strangers = scores[same & ~np.eye(len(labels), dtype=bool)], scores[~same]
    assert np.median(mated) > 0.5 > 0.35 > np.quantile(strangers, 0.99)
    np.testing.assert_allclose(load_recognizer(shared / "weights" / file).embed(crops), rows, atol=2e-4)


def test_the_weights_of_sface_are_known_in_another_file(shared: Path):
    """The bundled file declares its weights as inputs, this one does not; contract and thresholds agree."""
    cleaned = load_recognizer(shared / "weights" / "sface" / "sface_2021dec_int8bq_clean.onnx")
    assert cleaned.contract.id == load_recognizer("sface").contract.id and cleaned.calibration is not None


def test_what_is_no_recogniser_is_said(shared: Path):
    for file, words in (
        ("scrfd/scrfd_500m_kps.onnx", "9 outputs, a recogniser has one embedding"),
        ("yunet/yunet_n.pth", r"no known layout; it begins with backbone\.model0"),
        ("antispoof/2.7_80x80_MiniFASNetV2.pth", "no known layout"),
    ):
        with pytest.raises(VultusError, match=words):
            load_weights(shared / "weights" / file)
        assert inspect_file(shared / "weights" / file).problem
    detector = inspect_file(shared / "weights" / "yunet" / "yunet_n_dynamic.onnx")
    assert detector.problem is None and "detector" in dict(detector.facts)["is"]
