"""Crops on disk: the dataset and its views, how it is built and split, and how training reads it."""

from vultus.data.augment import Augmentation
from vultus.data.build import BuildReport, build_dataset, read_listing
from vultus.data.dataset import FaceDataset
from vultus.data.order import Batches, IdentityBatches, epoch_order
from vultus.data.seen import Seen
from vultus.data.split import split_dataset
from vultus.data.write import CropWriter

__all__ = [
    "Augmentation",
    "Batches",
    "BuildReport",
    "CropWriter",
    "FaceDataset",
    "IdentityBatches",
    "Seen",
    "build_dataset",
    "epoch_order",
    "read_listing",
    "split_dataset",
]
