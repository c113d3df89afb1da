"""Embedding + label -> loss: margins on the target cosine, class centres, the walk over the other classes; pairs."""

from vultus.losses.centers import ClassCenters
from vultus.losses.head import MarginLoss
from vultus.losses.margins import Margin
from vultus.losses.optimizers import RowAdamW, RowSGD
from vultus.losses.pairs import PairLoss
from vultus.losses.registry import LOSSES, LossInfo, create_loss, describe_loss, list_losses
from vultus.losses.walk import ENGINES

__all__ = [
    "ENGINES",
    "LOSSES",
    "ClassCenters",
    "LossInfo",
    "Margin",
    "MarginLoss",
    "PairLoss",
    "RowAdamW",
    "RowSGD",
    "create_loss",
    "describe_loss",
    "list_losses",
]
