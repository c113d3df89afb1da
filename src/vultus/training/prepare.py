"""Everything that a run has before its first step: data, network, loss, what fine-tuning adds, and its directory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from lightning_fabric import Fabric

from vultus.data import Batches, FaceDataset, IdentityBatches, Seen
from vultus.data.degrade import SHIFTS
from vultus.errors import VultusError
from vultus.files import save_atomically
from vultus.losses import MarginLoss, PairLoss
from vultus.training.finetune import TARGETS, Distillation, FineTuning, embed_all, load_targets
from vultus.training.head_rows import HeadRows, copy_kept_centers, hold_centers, set_mean_centers
from vultus.training.origin import Origin, check_unseen, open_origin, reopened, restore_norms
from vultus.training.recipe import Recipe
from vultus.training.recipe_sections import FinetuneSection
from vultus.training.report import Reporter
from vultus.training.run import Run, now
from vultus.training.setup import make_batches, make_loss
from vultus.training.validation import FARS, FINE_FARS, Validation, check_training_data, validation_split

PLAN = 1000
"""Steps that a run by minutes assumes until its pace is known."""


@dataclass
class Prepared:
    """The parts of a run in memory, still on the processor unless fine-tuning had to embed the data."""

    run: Run
    batches: Batches | IdentityBatches
    validation: Validation | None
    network: torch.nn.Module
    loss: MarginLoss | PairLoss
    steps_per_epoch: int
    tuning: FineTuning | None = None
    distillation: Distillation | None = None
    still: list[torch.nn.Parameter] = field(default_factory=list)
    """Parameters that must not decay: class centres that are kept."""


def prepare(recipe: Recipe, run: Run | None, fabric: Fabric, reporter: Reporter, models_dir: str | None) -> Prepared:
    """Open and build all of a new run (`run` is None) or of one to resume, whose weights are then yet to be loaded.

    Raises:
        VultusError: a recipe, data or network that does not fit; a new run then leaves no directory behind.
    """
    data = FaceDataset.open(recipe.data.train).at_least(recipe.data.min_images)
    check_training_data(data)
    section = recipe.tuning
    path = validation_split(recipe.data.train, recipe.data.validation)
    shifts = [name for name in SHIFTS if getattr(recipe.augment, name) > 0]
    fars = FINE_FARS if section else FARS
    validation = Validation.prepare(path, data, fars, shifts, paired=section is not None)
    if recipe.training.patience is not None and validation is None:
        raise VultusError(
            "training.patience needs a validation split beside data.train: `vultus data split` with val=0.1 makes one; "
            "or training.patience=null"
        )
    batches = make_batches(data, recipe)
    steps_per_epoch = max(1, batches.per_epoch // recipe.training.accumulate)
    origin = reopened(run) if run else open_origin(recipe, models_dir)
    check_unseen(origin, validation.data if validation else None)
    network = origin.network
    keep = section is not None and section.keep_centers
    known = origin.head() if keep and not run else None
    rows = (HeadRows.load(run.path) if run else None) or HeadRows.of(data, known[0] if known else None)
    loss = make_loss(recipe, origin.embedding_dim(recipe), len(rows.identities))
    tuning, targets, still = None, None, []
    if section is not None:
        network.to(fabric.device)
        if run is None:
            restore_norms(origin, data)
        tuning = FineTuning(section, network)
        if run is None:
            targets = _start(section, network, loss, rows, origin, known, data, reporter)
        elif section.distill:
            targets = load_targets(run.path)
        still = hold_centers(loss, rows) if isinstance(loss, MarginLoss) else []
    if run is None:
        run = _create(recipe, origin, data, validation, steps_per_epoch)
        if isinstance(loss, MarginLoss):
            rows.save(run.path)
        if targets is not None:
            _save_targets(run, targets)
    elif run.facts["dataset_digest"] != data.digest:
        raise VultusError(
            f"{data.title} is no longer the data that {run.path} was trained on (digest differs); "
            "restore it or start a new run"
        )
    distillation = Distillation(section.distill, targets) if section and targets is not None else None
    return Prepared(run, batches, validation, network, loss, steps_per_epoch, tuning, distillation, still)


def _start(
    section: FinetuneSection,
    network: torch.nn.Module,
    loss: MarginLoss | PairLoss,
    rows: HeadRows,
    origin: Origin,
    known: tuple[HeadRows, dict[str, torch.Tensor]] | None,
    data: FaceDataset,
    reporter: Reporter,
) -> np.ndarray | None:
    """Put the class centres where they begin; the embeddings to stay near, (N, D), where that is wanted."""
    centred = isinstance(loss, MarginLoss) and section.centers != "random"
    embeddings = embed_all(network, data, reporter.quiet) if centred or section.distill else None
    if isinstance(loss, MarginLoss):
        if centred and embeddings is not None:
            set_mean_centers(loss.centers, embeddings, data.labels)
        if known is not None and origin.run is not None:
            copy_kept_centers(loss.centers, rows, *known, str(origin.run.path))
            here = sum(row < len(data.identities) for row in rows.kept)
            absent = len(rows.identities) - len(data.identities)
            new = len(data.identities) - here
            reporter.say(f"class centres: {here} kept, {new} new, {absent} kept of people not in this data")
    return embeddings if section.distill else None


def _create(
    recipe: Recipe, origin: Origin, data: FaceDataset, validation: Validation | None, steps_per_epoch: int
) -> Run:
    settings, network = recipe.training, origin.network
    facts = {
        "dataset": data.title,
        "dataset_digest": data.digest,
        "images": len(data),
        "identities": len(data.identities),
        "validation": validation.title if validation else None,
        "steps": PLAN if settings.minutes is not None else (settings.epochs or 20) * steps_per_epoch,
        "steps_per_epoch": steps_per_epoch,
        "parameters": sum(p.numel() for p in network.parameters()),
        "started": now(),
    }
    if origin.architecture is not None:
        facts |= {
            "parameters_trained": sum(p.numel() for p in network.parameters() if p.requires_grad),
            "architecture": origin.architecture,
            "ancestry": origin.ancestry,
        }
    seen = Seen.of(data, validation.data if validation else None).after(origin.seen)
    run = Run.create(recipe, facts, seen)
    if origin.architecture is not None:
        from vultus.models.weights import keep

        keep(network, run.path)
    return run


def _save_targets(run: Run, targets: np.ndarray) -> None:
    import io

    buffer = io.BytesIO()
    np.save(buffer, targets, allow_pickle=False)
    save_atomically(buffer.getvalue(), run.path / TARGETS)
