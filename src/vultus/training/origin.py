"""The network that a run starts from: made anew, or one that somebody trained before, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vultus.data import FaceDataset, Seen
from vultus.errors import VultusError
from vultus.files import is_file, is_folder, parsing
from vultus.models import create_model
from vultus.models.crops import BATCH, normalise, preprocessing_of
from vultus.training.head_rows import HeadRows
from vultus.training.recipe import Recipe
from vultus.training.run import Run, empty_network, load_model, open_run


@dataclass
class Origin:
    """A network before its first step, and what a run must remember of where it came from."""

    network: torch.nn.Module
    architecture: dict[str, Any] | None = None
    """What `models.weights.rebuild` makes the same empty network of; None from scratch, where the recipe does."""
    ancestry: list[dict[str, Any]] = field(default_factory=list)
    """The licence chain, oldest first."""
    seen: Seen | None = None
    """Whom the ancestor was trained on, where that is known."""
    run: Run | None = None
    """The ancestor, where it is a run."""
    checkpoint: str = ""

    def embedding_dim(self, recipe: Recipe) -> int:
        """Of the network; the recipe's from scratch."""
        return recipe.model.embedding_dim if self.architecture is None else int(self.architecture["embedding_dim"])

    def head(self) -> tuple[HeadRows, dict[str, torch.Tensor]]:
        """The ancestor's class centres, and whose they are. Raises `VultusError` where there are none."""
        if self.run is None:
            raise VultusError(
                "finetune.keep_centers needs model.weights=RUN, a run directory: only runs have class centres"
            )
        rows = HeadRows.load(self.run.path)
        if rows is None:
            raise VultusError(
                f"finetune.keep_centers: {self.run.path} does not say whose its class centres are (a loss without "
                "centres, or an older version made it); remove finetune.keep_centers"
            )
        return rows, self.run.load(self.checkpoint)["loss"]


def open_origin(recipe: Recipe, models_dir: str | None = None) -> Origin:
    """The network of `recipe.model`, its weights as they are at the start."""
    section = recipe.model
    if section.weights is None:
        return Origin(create_model(section.name, section.embedding_dim, section.pretrained, **section.options))
    path = Path(section.weights)
    if is_file(path / "run.json"):
        return _from_run(open_run(path))
    if is_folder(path):
        raise VultusError(f"model.weights={path} is a folder without a run in it; name a run, a file, or a known model")
    from vultus.models.weights import load_network

    network = load_network(section.weights, models_dir)
    seen = _seen_of_file(path) if path.suffix.lower() == ".onnx" and is_file(path) else None
    return Origin(network, dict(network.architecture), list(network.ancestry), seen)  # type: ignore[arg-type]


def _from_run(run: Run) -> Origin:
    network, which = load_model(run)
    section = run.recipe.model
    architecture = run.facts.get("architecture") or {
        "name": section.name,
        "embedding_dim": section.embedding_dim,
        "options": section.options,
        "preprocessing": preprocessing_of(network).to_dict(),
        "folded_norms": [],
    }
    link = {
        "name": f"run {run.path.name}",
        "licence": "as its training photographs and its ancestors ask",
        "commercial_use": "unclear",
        "source": "trained by vultus",
        "sha256": None,
        "checkpoint": f"{which}.pt",
        **{key: run.facts.get(key) for key in ("dataset", "dataset_digest", "commit")},
    }
    return Origin(
        network.train(), dict(architecture), [*run.facts.get("ancestry", []), link], run.seen, run, checkpoint=which
    )


def _seen_of_file(path: Path) -> Seen | None:
    """What a recogniser that vultus exported says of the people it was trained on."""
    from vultus.recognizer.card import read_card
    from vultus.zoo import read_network

    card = read_card(read_network(path), str(path))
    with parsing(path, "recognizer that says whom it has seen", "export it again"):
        return Seen.from_dict(card.provenance.get("seen")) if card else None


def reopened(run: Run) -> Origin:
    """The network of a run that goes on, its weights yet to be loaded."""
    return Origin(empty_network(run), run.facts.get("architecture"))


def restore_norms(origin: Origin, data: FaceDataset) -> None:
    """Batch norms that an ONNX export had folded away get statistics of these people; the embeddings stay."""
    if origin.architecture is None or not (names := origin.architecture.get("folded_norms")):
        return
    from vultus.models.folded import ENOUGH, restore_statistics

    how, device = preprocessing_of(origin.network), next(origin.network.parameters()).device
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:ENOUGH].numpy()
    starts = range(0, len(rows), BATCH)
    batches = (normalise(torch.from_numpy(data.crops(rows[s : s + BATCH])).to(device), how) for s in starts)
    restore_statistics(origin.network, names, batches)
    origin.architecture["folded_norms"] = []  # they have their own again


def check_unseen(origin: Origin, validation: FaceDataset | None) -> None:
    """Raises `VultusError` where the ancestor was trained on people whom a checkpoint is to be chosen on."""
    if origin.seen is None or validation is None:
        return
    trained, _ = origin.seen.overlap(validation)
    if trained:
        raise VultusError(
            f"data.validation={validation.title}: the network to fine-tune was trained on {trained} of its identities; "
            "validate on others"
        )
