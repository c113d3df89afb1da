"""Whole jobs: what the command line and the Python interface call."""

from vultus.workflows.embedder import Embedder, open_embedder
from vultus.workflows.evaluate import evaluate
from vultus.workflows.export import calibrate_on, export
from vultus.workflows.results import Against, Evaluation, PairsEvaluation
from vultus.workflows.synthesise import synthesise

__all__ = [
    "Against",
    "Embedder",
    "Evaluation",
    "PairsEvaluation",
    "calibrate_on",
    "evaluate",
    "export",
    "open_embedder",
    "synthesise",
]
