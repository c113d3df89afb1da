"""Photographs in, aligned face crops out."""

from vultus.faces.align import LANDMARKS, align, similarity_transform
from vultus.faces.detect import Detector, load_detector
from vultus.faces.face import Face, select_faces
from vultus.faces.image import IMAGE_SUFFIXES, read_image, to_image
from vultus.faces.photographs import find_photographs

__all__ = [
    "IMAGE_SUFFIXES",
    "LANDMARKS",
    "Detector",
    "Face",
    "align",
    "find_photographs",
    "load_detector",
    "read_image",
    "select_faces",
    "similarity_transform",
    "to_image",
]
