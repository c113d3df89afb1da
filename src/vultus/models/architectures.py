"""The table of our own backbones: how each is built, what it wants to see, and what its published weights expect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from vultus.zoo import Preprocessing

UNPUBLISHED = "none published"
"""Licence of an architecture that nobody has published weights of."""


@dataclass(frozen=True)
class Architecture:
    """One backbone."""

    name: str
    module: str
    """File in `vultus.models`."""
    factory: str
    """Function or class in it: `factory(embedding_dim, **options)`."""
    about: str
    paper: str
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments that make this entry of the family; fixed."""
    published: Preprocessing = field(default_factory=Preprocessing)
    """How the published weights want their crops. A network made from scratch takes only the size from it; its pixels
    are scaled as ArcFace's, whatever the family."""
    embedding_dim: int = 512
    """Of the published weights."""
    licence: str = UNPUBLISHED
    """Of the known weights, in words."""

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of the crops that the network takes."""
        return self.published.crop_size


_RGB_128 = Preprocessing(std=(128.0, 128.0, 128.0))
_BGR = Preprocessing(color="BGR")
_IMAGENET = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))

_ARCFACE = "Deng et al. 2019, ArcFace, arXiv 1801.07698"
_ADAFACE = "Kim et al. 2022, AdaFace, arXiv 2204.00964"
_SENET = "Hu et al. 2018, Squeeze-and-Excitation Networks, arXiv 1709.01507"
_MOBILEFACENET = "Chen et al. 2018, MobileFaceNets, arXiv 1804.07573"
_PARTIAL_FC = "An et al. 2022, Killing Two Birds with One Stone (Partial FC), arXiv 2203.15565"
_EDGEFACE = "George et al. 2023, EdgeFace, arXiv 2307.01838"
_FACENET = "Szegedy et al. 2016, arXiv 1602.07261; Schroff et al. 2015, FaceNet, arXiv 1503.03832"

_INSIGHTFACE_LICENCE = "InsightFace's: non-commercial research only"
_ADAFACE_LICENCE = "AdaFace's and CVLface's: code MIT; the images they learnt from are for research only"
_EDGEFACE_LICENCE = "Idiap's: code BSD-3-Clause; ask for the weights' own terms, research use"
_FACENET_LICENCE = "facenet-pytorch's: MIT; the images they learnt from (VGGFace2, CASIA-WebFace) are for research only"
_UNSTATED = "none stated by their authors"


def _iresnet() -> Iterable[Architecture]:
    for depth in (18, 34, 50, 100, 200):
        about = f"ArcFace's improved residual network of depth {depth}, InsightFace's layout"
        yield Architecture(
            f"iresnet{depth}", "iresnet", "iresnet", about, _ARCFACE, {"depth": depth}, licence=_INSIGHTFACE_LICENCE
        )


def _ir() -> Iterable[Architecture]:
    for depth in (18, 34, 50, 101, 152, 200):
        about = f"improved residual network of depth {depth}, AdaFace's and CVLface's layout"
        licence = _ADAFACE_LICENCE if depth in (18, 50, 101) else UNPUBLISHED
        yield Architecture(f"ir{depth}", "ir", "ir", about, _ADAFACE, {"depth": depth}, _BGR, licence=licence)
    for depth in (50, 101, 152, 200):
        about = f"improved residual network of depth {depth} with squeeze-and-excitation, AdaFace's layout"
        options = {"depth": depth, "squeeze_excite": True}
        yield Architecture(f"irse{depth}", "ir", "ir", about, f"{_ADAFACE}; {_SENET}", options, _BGR)


def _mobilefacenet() -> Iterable[Architecture]:
    paper = Architecture(
        "mobilefacenet",
        "mobilefacenet",
        "MobileFaceNet",
        "the paper's network for phones, with PReLU",
        _MOBILEFACENET,
        embedding_dim=128,
    )
    yield paper
    yield replace(paper, name="mobilefacenet_050", about="MobileFaceNet of half the width", options={"width": 0.5})
    yield replace(
        paper,
        name="mobilefacenet_112x96",
        about="MobileFaceNet for SphereFace's crops of 112 rows and 96 columns, Xiaoccer's layout",
        options={"crop_size": (112, 96)},
        published=replace(_RGB_128, crop_size=(112, 96)),
        licence=_UNSTATED,
    )
    yield Architecture(
        "mobilefacenet_relu6",
        "mobilefacenet",
        "MobileFaceNetReLU6",
        "MobileFaceNet with MobileNetV2's ReLU6, foamliu's layout",
        _MOBILEFACENET,
        published=_IMAGENET,
        embedding_dim=128,
        licence=_UNSTATED,
    )
    insightface = Architecture(
        "mobilefacenet_insightface",
        "mobilefacenet_insightface",
        "MobileFaceNetInsightFace",
        "InsightFace's MobileFaceNet (mbf) of twice the paper's width",
        _MOBILEFACENET,
        {"scale": 2, "blocks": (1, 4, 6, 2)},
        licence=_INSIGHTFACE_LICENCE,
    )
    yield insightface
    yield replace(
        insightface,
        name="mobilefacenet_insightface_deep",
        about="the same with twice the blocks; of the size of buffalo_s's w600k_mbf.onnx",
        options={"scale": 2, "blocks": (2, 8, 12, 4)},
    )
    yield replace(
        insightface,
        name="mobilefacenet_insightface_large",
        about="InsightFace's large MobileFaceNet (mbf_large): four times the paper's width, twice the blocks",
        options={"scale": 4, "blocks": (2, 8, 12, 4)},
    )


def _vit() -> Iterable[Architecture]:
    for size, words in {"t": "tiny", "s": "small", "b": "base", "l": "large"}.items():
        about = f"vision transformer, {words}, for faces: 9 x 9 patches, InsightFace's layout"
        options = {"size": size}
        yield Architecture(f"vit_{size}", "vit", "face_vit", about, _PARTIAL_FC, options, licence=_INSIGHTFACE_LICENCE)


def _edgeface() -> Iterable[Architecture]:
    for size in ("xxs", "xs", "s", "base"):
        about = f"EdgeNeXt {size} with a face head: convolutions and attention across channels"
        licence = UNPUBLISHED if size == "s" else _EDGEFACE_LICENCE
        yield Architecture(
            f"edgeface_{size}", "edgeface", "EdgeFace", about, _EDGEFACE, {"size": size}, licence=licence
        )
    for size, gamma in (("xs", 0.6), ("s", 0.5)):
        about = f"EdgeFace {size} with linear layers of {gamma:g} of their rank"
        name = f"edgeface_{size}_gamma_{gamma * 10:02.0f}"
        options = {"size": size, "gamma": gamma}
        yield Architecture(name, "edgeface", "EdgeFace", about, _EDGEFACE, options, licence=_EDGEFACE_LICENCE)


def _others() -> Iterable[Architecture]:
    yield Architecture(
        "inception_resnet_v1",
        "inception_resnet",
        "InceptionResNetV1",
        "FaceNet's network for crops of 160 x 160, facenet-pytorch's layout",
        _FACENET,
        published=replace(_RGB_128, crop_size=(160, 160)),
        licence=_FACENET_LICENCE,
    )
    yield Architecture(
        "tinyresnet", "tiny", "TinyResNet", "vultus's own small network that learns fast on a CPU", "no paper"
    )


NATIVE: dict[str, Architecture] = {
    entry.name: entry for family in (_iresnet, _ir, _mobilefacenet, _vit, _edgeface, _others) for entry in family()
}
"""Our own backbones by name."""
