"""Published weights load into our networks to the last name and shape."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vultus.models import create_model


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
