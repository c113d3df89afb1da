"""Pictures of evidence: each function returns the bytes of one PNG on a white ground, about 1400 pixels wide."""

from vultus.evaluation.figures.bars import bars
from vultus.evaluation.figures.style import rate_text
from vultus.evaluation.figures.training import training_curves
from vultus.evaluation.figures.verification import det, roc, score_histogram

__all__ = ["bars", "det", "rate_text", "roc", "score_histogram", "training_curves"]
