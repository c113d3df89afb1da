"""What a run needs around its loop: precision and device, the module that is trained, the loader that feeds it."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Sampler

from vultus.data import Augmentation, Batches, FaceDataset, IdentityBatches
from vultus.errors import VultusError
from vultus.losses import MarginLoss, PairLoss, create_loss
from vultus.models.crops import normalise, preprocessing_of
from vultus.training.recipe import Recipe, TrainingSection
from vultus.training.schedule import momentum_of

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_fabric(settings: TrainingSection) -> Fabric:
    """Device and precision. Raises `VultusError` where the machine cannot do what the recipe asks."""
    cuda = torch.cuda.is_available() and settings.accelerator != "cpu"
    if settings.accelerator == "gpu" and not cuda:
        raise VultusError("training.accelerator=gpu, but torch sees no GPU here; use auto or cpu")
    if settings.precision == "fp16" and not cuda:
        raise VultusError(
            "training.precision=fp16 needs a GPU (on a CPU it would silently become bf16); use fp32 or bf16"
        )
    precision = PRECISIONS[settings.precision]
    return Fabric(accelerator="cuda" if cuda else "cpu", devices=1, precision=precision)  # type: ignore[arg-type]


IMAGES_PER_IDENTITY = 4
"""Of losses that compare pairs: FaceNet's batches show about 40 of each identity among 1,800, P x K batches of
re-identification (arXiv 1703.07737) 4."""


def make_batches(data: FaceDataset, recipe: Recipe) -> Batches | IdentityBatches:
    """What every step sees: each image once an epoch, or some images of each of some identities."""
    settings = recipe.training
    augmentation = Augmentation(**recipe.augment.model_dump())
    images = settings.images_per_identity or (IMAGES_PER_IDENTITY if recipe.loss.pairs else None)
    if images is None:
        return Batches(data, settings.batch_size, augmentation, seed=settings.seed)
    if recipe.loss.pairs and not (data.counts > 1).any():
        raise VultusError(f"{data.title} has one image of each identity; {recipe.loss.name} needs two of some")
    return IdentityBatches(data, settings.batch_size, images, augmentation, seed=settings.seed)


def make_loss(recipe: Recipe, embedding_dim: int, num_classes: int) -> MarginLoss | PairLoss:
    """The recipe's loss for embeddings of this dimension and so many identities."""
    section = recipe.loss
    options = section.model_dump(exclude={"name", "update_in_backward"}, exclude_none=True)
    if recipe.training.precision == "bf16" and not section.pairs:
        options.setdefault("products", "bf16")
    if section.update_in_backward:
        optimizer = recipe.optimizer
        options["update_in_backward"] = {
            "lr": optimizer.lr,
            "momentum": momentum_of(optimizer),
            "weight_decay": optimizer.weight_decay,
        }
    return create_loss(section.name, embedding_dim, num_classes, **options)


class Trainee(torch.nn.Module):
    """Network and loss as one module, so that one `fabric.setup` serves both."""

    def __init__(
        self,
        network: torch.nn.Module,
        loss: torch.nn.Module,
        distillation: torch.nn.Module | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.distillation, self.loss_weight = network, loss, distillation, loss_weight
        self.preprocessing = preprocessing_of(network)

    def forward(self, crops: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Mean loss of (B, 112, 112, 3) uint8 crops with (B,) int64 labels; targets: (B, D) for the distillation."""
        embeddings = self.network(normalise(crops, self.preprocessing))
        if self.distillation is None:
            return self.loss_weight * self.loss(embeddings, labels)
        distance = self.distillation(embeddings, targets)
        # a weight of 0 spares the head: the labels then play no part
        return distance + self.loss_weight * self.loss(embeddings, labels) if self.loss_weight else distance


class _Numbers(Sampler[int]):
    """Batch numbers from an optimiser step on, without end: a run by minutes does not know its own."""

    def __init__(self, per_epoch: int, steps_per_epoch: int, accumulate: int, first: int) -> None:
        self._per_epoch, self._steps, self._accumulate, self._first = per_epoch, steps_per_epoch, accumulate, first

    def __iter__(self) -> Iterator[int]:
        # an epoch whose last batches do not fill an accumulation leaves them out
        for step in itertools.count(self._first):
            epoch, within = divmod(step, self._steps)
            for micro in range(self._accumulate):
                yield epoch * self._per_epoch + (within * self._accumulate + micro) % self._per_epoch


def _leave_ctrl_c_to_parent(worker: int) -> None:
    """The loop still needs its workers to end its step. SIGTERM is how torch ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def make_loader(
    batches: Batches | IdentityBatches, settings: TrainingSection, steps_per_epoch: int, first: int
) -> DataLoader:
    """Batches from optimiser step `first` on, made by `settings.workers` processes."""
    return DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        sampler=_Numbers(batches.per_epoch, steps_per_epoch, settings.accumulate, first),
        num_workers=settings.workers,
        worker_init_fn=_leave_ctrl_c_to_parent if settings.workers else None,
        prefetch_factor=4 if settings.workers else None,
        generator=torch.Generator(),  # its own: the loader must not draw from the run's random state
    )
