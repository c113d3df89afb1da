"""Embedding + label -> loss: margins on the target cosine, class centres, the reduction over the other classes."""

from __future__ import annotations

from vultus.losses.engines import ENGINES
from vultus.losses.margins import MARGINS, Margin
from vultus.losses.registry import create_loss, list_losses
from vultus.losses.softmax import ClassCenters, MarginSoftmax

__all__ = ["ENGINES", "MARGINS", "ClassCenters", "Margin", "MarginSoftmax", "create_loss", "list_losses"]
