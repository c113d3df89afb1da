"""Which crops a training step sees: a function of the seed and the batch's number alone.

No state is kept, so a run resumed in the middle of an epoch, or with another number of workers, sees the same batches.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from vultus.data.augment import Augmentation
from vultus.data.dataset import FaceDataset, decode_crop
from vultus.errors import VultusError


@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: a permutation of `count` rows, (count,) int64. Read-only, shared."""
    order = np.random.default_rng((seed, epoch, 0)).permutation(count)
    order.setflags(write=False)
    return order


class Batches:
    """Item `i` is batch `i` of the whole run: ((B, 112, 112, 3) uint8 crops, augmented; (B,) int64 labels; (B,) int64
    rows of the data).

    For torch's DataLoader with `batch_size=None`: a worker makes a whole batch, so little crosses the process border.
    The last rows of an epoch that fill no batch are left out; they differ from epoch to epoch.
    """

    def __init__(self, data: FaceDataset, batch_size: int, augmentation: Augmentation, *, seed: int) -> None:
        self.data, self.augmentation, self.seed = data, augmentation, seed
        self.batch_size = min(batch_size, len(data))

    @property
    def per_epoch(self) -> int:
        return len(self.data) // self.batch_size

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        epoch, step = divmod(number, self.per_epoch)
        order = epoch_order(len(self.data), self.seed, epoch)
        rows = order[step * self.batch_size : (step + 1) * self.batch_size]
        random = np.random.default_rng((self.seed, epoch, 1, step))
        return _read(self.data, rows, self.augmentation, random)


class IdentityBatches:
    """Item `i` is batch `i` of the whole run, with P identities and up to K images of each, P = batch_size // K:
    ((B, 112, 112, 3) uint8 crops, augmented; (B,) int64 labels; (B,) int64 rows of the data), B <= P * K. For losses
    that compare within a batch.

    The identities come in walks without end; each walk shows all of them once, in an order of its own, and a batch may
    straddle two. So identities are shown equally often, however many images they have. Walk `q` shows group `q` of an
    identity's images: n images, in an order drawn anew for each cycle, make n // K groups of K, and the n mod K left
    out differ from cycle to cycle. With n < K the one group is all n: the batch gets smaller, no image is repeated.
    """

    def __init__(
        self, data: FaceDataset, batch_size: int, images_per_identity: int, augmentation: Augmentation, *, seed: int
    ) -> None:
        """Takes all identities where there are fewer than P. Raises `VultusError` where P or they are fewer than 2."""
        if images_per_identity < 1:
            raise VultusError(f"images_per_identity={images_per_identity}: must be at least 1")
        if batch_size < 2 * images_per_identity:
            raise VultusError(
                f"batch_size={batch_size} with images_per_identity={images_per_identity}: a batch needs 2 identities, "
                f"so batch_size must be at least {2 * images_per_identity}"
            )
        if len(data.identities) < 2:
            raise VultusError(f"{data.title} has {len(data.identities)} identity; a batch needs at least 2 of them")
        self.data, self.augmentation, self.seed = data, augmentation, seed
        self.images_per_identity = images_per_identity
        self.identities_per_batch = min(batch_size // images_per_identity, len(data.identities))
        self._rows = np.split(np.argsort(data.labels, kind="stable"), np.cumsum(data.counts)[:-1])

    @property
    def per_epoch(self) -> int:
        """Batches that show about as many images as there are."""
        shown = np.minimum(self.data.counts, self.images_per_identity).mean()
        return max(1, round(len(self.data) / (self.identities_per_batch * shown)))

    def rows(self, number: int) -> np.ndarray:
        """Rows of the data in batch `number`, (B,) int64: its identities one after the other."""
        together, identities = self.identities_per_batch, len(self._rows)
        walk, start = divmod(number * together, identities)
        first = identity_order(identities, together, self.seed, walk)[start : start + together]
        groups = [self._group(int(identity), walk) for identity in first]
        if missing := together - len(first):
            second = identity_order(identities, together, self.seed, walk + 1)[:missing]
            groups += [self._group(int(identity), walk + 1) for identity in second]
        return np.concatenate(groups)

    def _group(self, identity: int, walk: int) -> np.ndarray:
        """The rows that this identity shows in this walk, (K,) or all it has."""
        rows, size = self._rows[identity], self.images_per_identity
        cycle, group = divmod(walk, max(1, len(rows) // size))
        order = np.random.default_rng((self.seed, identity, 2, cycle)).permutation(len(rows))
        return rows[order[group * size : (group + 1) * size]]

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _read(self.data, self.rows(number), self.augmentation, np.random.default_rng((self.seed, number, 1)))


@lru_cache(maxsize=2)
def identity_order(identities: int, together: int, seed: int, walk: int) -> np.ndarray:
    """The order of a walk over identities, (identities,) int64, cut into batches of `together` <= `identities`.

    A batch that straddles two walks has no identity twice: the second walk shows those that the batch already has
    right behind it. Read-only, shared.
    """
    # Batches and walks end together every so many walks; from there on each walk depends on the end of the one before.
    first = walk - walk % (together // math.gcd(together, identities))
    if identities >= 2 * together:
        first = max(first, walk - 1)  # its end, all that matters here, is as drawn: only a walk's start is rearranged
    order = epoch_order(identities, seed, first)
    for later in range(first + 1, walk + 1):
        begun = later * identities % together  # identities of the straddling batch that the walk before has shown
        drawn = epoch_order(identities, seed, later)
        start, rest = drawn[:together], drawn[together:]
        shown = np.isin(start, order[identities - begun :])
        order = np.concatenate([start[~shown], start[shown], rest])
    order.setflags(write=False)
    return order


def _read(
    data: FaceDataset, rows: np.ndarray, augmentation: Augmentation, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops of these rows, augmented one after the other, (B, 112, 112, 3) uint8; labels and rows, (B,) int64."""
    cv2.setNumThreads(0)  # crops are small; the cores belong to the network
    crops = [augmentation(decode_crop(content), random) for content in data.encoded(rows)]
    return np.stack(crops), data.labels[rows], np.array(rows, np.int64)
