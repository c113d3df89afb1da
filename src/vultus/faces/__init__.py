"""Photographs in, aligned face crops out, each with its quality."""

from vultus.faces.align import LANDMARKS, align, similarity_transform
from vultus.faces.detect import Detector, identify_detector, load_detector
from vultus.faces.face import Face, select_faces
from vultus.faces.image import IMAGE_SUFFIXES, read_image, to_image
from vultus.faces.photographs import find_photographs
from vultus.faces.quality import ENROL_GATE, OPEN_GATE, PROBE_GATE, Gate, Quality, Reason, ReasonCode, measure_quality

__all__ = [
    "ENROL_GATE",
    "IMAGE_SUFFIXES",
    "LANDMARKS",
    "OPEN_GATE",
    "PROBE_GATE",
    "Detector",
    "Face",
    "Gate",
    "Quality",
    "Reason",
    "ReasonCode",
    "align",
    "find_photographs",
    "identify_detector",
    "load_detector",
    "measure_quality",
    "read_image",
    "select_faces",
    "similarity_transform",
    "to_image",
]
