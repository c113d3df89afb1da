"""Addresses and licences that several entries of the table share."""

OPENCV_ZOO = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/25f423d0e04c31a17254620e58febd7386da523b/models"
)
INSIGHTFACE_RELEASE = "https://github.com/deepinsight/insightface/releases/download/v0.7"
INSIGHTFACE_LICENCE = (
    "non-commercial research only (InsightFace, python-package/docs/model_zoo.md: all pretrained models; "
    "a commercial licence is sold by its authors)"
)
CVLFACE_LICENCE = (
    "unclear (the cards on Hugging Face are tagged MIT and say: follow the licence of the training dataset; "
    "WebFace260M's agreement allows research only)"
)
EDGEFACE_LICENCE = "CC-BY-NC-SA-4.0 (Idiap's cards on Hugging Face; the code, otroshi/edgeface, is BSD-3-Clause)"
FACENET_LICENCE = (
    "unclear (facenet-pytorch, LICENSE.md: MIT, with the code; nothing is said of the weights, and the photographs "
    "of {dataset} were for research)"
)
