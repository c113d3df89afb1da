"""Which crops a training step sees: a function of (seed, epoch, step) alone.

No state is kept, so a run resumed in the middle of an epoch, or with another number of workers, sees the same batches.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from vultus.data.augment import Augmentation
from vultus.data.dataset import FaceDataset, decode_crop


@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: a permutation of `count` rows, (count,) int64. Read-only, shared."""
    order = np.random.default_rng((seed, epoch, 0)).permutation(count)
    order.setflags(write=False)
    return order


class Batches:
    """Item `i` is batch `i` of the whole run: ((B, 112, 112, 3) uint8 crops, augmented; (B,) int64 labels).

    For torch's DataLoader with `batch_size=None`: a worker makes a whole batch, so little crosses the process border.
    The last rows of an epoch that fill no batch are left out; they differ from epoch to epoch.
    """

    def __init__(self, data: FaceDataset, batch_size: int, augmentation: Augmentation, *, seed: int) -> None:
        self.data, self.augmentation, self.seed = data, augmentation, seed
        self.batch_size = min(batch_size, len(data))

    @property
    def per_epoch(self) -> int:
        return len(self.data) // self.batch_size

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        cv2.setNumThreads(0)  # crops are small; the cores belong to the network
        epoch, step = divmod(number, self.per_epoch)
        order = epoch_order(len(self.data), self.seed, epoch)
        rows = order[step * self.batch_size : (step + 1) * self.batch_size]
        random = np.random.default_rng((self.seed, epoch, 1, step))
        crops = [self.augmentation(decode_crop(content), random) for content in self.data.encoded(rows)]
        return np.stack(crops), self.data.labels[rows]
