"""The deployable file: an ONNX network that says itself how it wants its crops and what its scores mean."""

from vultus.recognizer.card import Card, read_card, write_card
from vultus.recognizer.export import export_onnx
from vultus.recognizer.load import load_recognizer, open_model
from vultus.recognizer.model_card import model_card
from vultus.recognizer.runtime import Recognizer

__all__ = [
    "Card",
    "Recognizer",
    "export_onnx",
    "load_recognizer",
    "model_card",
    "open_model",
    "read_card",
    "write_card",
]
