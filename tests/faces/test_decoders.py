"""Which decoder reads a network, and what the numbers of SCRFD mean, on outputs made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from vultus.errors import VultusError
from vultus.faces import Detector
from vultus.faces.decoder import STRIDES
from vultus.faces.scrfd import Scrfd
from vultus.faces.yunet import YuNet

SIZE = (64, 96)
YUNET = {f"{kind}_{s}": [1, "?", n] for kind, n in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)) for s in STRIDES}


def shapes(batch_axis: bool) -> dict[str, list[int | str | None]]:
    lead: list[int | str | None] = [1] if batch_axis else []
    return {f"{width}/{stride}": [*lead, "?", width] for width in (1, 4, 10) for stride in STRIDES}


def test_the_outputs_tell_the_network() -> None:
    assert YuNet.of(YUNET) and not Scrfd.of(YUNET)
    for batch_axis in (True, False):
        assert Scrfd.of(shapes(batch_axis)) and not YuNet.of(shapes(batch_axis))
    without_points = {name: shape for name, shape in shapes(True).items() if shape[-1] != 10}
    assert Scrfd.of(without_points) is None


@pytest.mark.parametrize("batch_axis", [True, False])
def test_scrfd_reads_distances_in_strides_from_the_anchor(batch_axis: bool) -> None:
    """One face, stride 16, row 2, column 4, second anchor, in the second picture of a batch of three."""
    decoder = Scrfd.of(shapes(batch_axis))
    assert decoder is not None
    outputs = {}
    for name in shapes(batch_axis):
        width, stride = (int(part) for part in name.split("/"))
        by_picture = np.zeros((3, SIZE[0] // stride, SIZE[1] // stride, 2, width), np.float32)
        if stride == 16:
            points = [(-1, -1), (1, -1), (0, 0), (-1, 1), (1, 1)]
            by_picture[1, 2, 4, 1] = {1: [0.9], 4: [1, 2, 3, 0.5], 10: np.ravel(points)}[width]
        flat = by_picture.reshape(3, -1, 2, width)
        outputs[name] = flat.reshape(3, -1, width) if batch_axis else flat.swapaxes(0, 1).reshape(-1, width)
    assert [len(decoder.decode(outputs, row, SIZE, 0.5)) for row in range(3)] == [0, 1, 0]
    (found,) = decoder.decode(outputs, 1, SIZE, 0.5)
    x, y = 4 * 16, 2 * 16
    np.testing.assert_allclose(found[:4], [x - 16, y - 32, x + 48, y + 8])
    np.testing.assert_allclose(found[4:14].reshape(5, 2)[[0, 2, 4]], [(x - 16, y - 16), (x, y), (x + 16, y + 16)])
    assert found[14] == pytest.approx(0.9)


def test_pixels_enter_as_each_network_wants_them() -> None:
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    picture[..., 0] = 255  # red
    assert YuNet().prepare(picture)[0, :, 0, 0].tolist() == [0, 0, 255]
    np.testing.assert_allclose(
        Scrfd([], True).prepare(picture)[0, :, 0, 0], [127.5 / 128, -127.5 / 128, -127.5 / 128], rtol=1e-6
    )


def test_another_network_is_refused_by_its_outputs(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["features"])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    with pytest.raises(VultusError, match=r"n\.onnx is no YuNet and no SCRFD with landmarks: its outputs are features"):
        Detector(tmp_path / "n.onnx")
