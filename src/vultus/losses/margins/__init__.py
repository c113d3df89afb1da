"""Every margin loss as a class of a few lines."""

from vultus.losses.margins.angular import ArcFace, Combined, SphereFace, SphereFaceR, SubcenterArcFace
from vultus.losses.margins.binary import SphereFace2, UniFace
from vultus.losses.margins.curricular import CurricularFace
from vultus.losses.margins.elastic import ElasticArc, ElasticArcPlus, ElasticCos, ElasticCosPlus
from vultus.losses.margins.margin import Margin
from vultus.losses.margins.norms import AdaFace, MagFace
from vultus.losses.margins.plain import CosFace, NormFace, Softmax

__all__ = [
    "AdaFace",
    "ArcFace",
    "Combined",
    "CosFace",
    "CurricularFace",
    "ElasticArc",
    "ElasticArcPlus",
    "ElasticCos",
    "ElasticCosPlus",
    "MagFace",
    "Margin",
    "NormFace",
    "Softmax",
    "SphereFace",
    "SphereFace2",
    "SphereFaceR",
    "SubcenterArcFace",
    "UniFace",
]
