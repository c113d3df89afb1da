"""Fine-tune a recogniser on one's own people: a ready recipe, what to start from, and what to measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.data import FaceDataset
from vultus.errors import VultusError

if TYPE_CHECKING:
    from vultus.training import Run

RECIPE: dict[str, Any] = {
    "run": "runs/finetuned",
    "data": {"min_images": 1},
    "finetune": {"distill": 10.0, "loss_weight": 0.0, "layer_decay": 0.8, "blend": 0.7},
    "augment": {"flip": 0.5},
    "loss": {"name": "arcface", "scale": 32.0, "margin": 0.3},
    "optimizer": {"name": "adamw", "lr": 2e-4, "weight_decay": 0.0},
    "schedule": {"name": "cosine", "warmup": 0.1},
    "training": {"epochs": 3, "batch_size": 64, "ema": 0.99},
}
"""The recipe of `vultus finetune`, as recipes/finetune.yaml."""


def finetune(
    data: str | Path,
    source: str | Path,
    *,
    run: str | Path | None = None,
    recipe: str | Path | None = None,
    overrides: Sequence[str] = (),
    models_dir: str | None = None,
    quiet: bool = False,
) -> Run:
    """Train `source` (a name of `vultus models list`, a file of weights, or a run) on with the people of `data`.

    Args:
        data: DATA, whose split `train` is used (and `val` for choosing), or a split DATA/NAME.
        run: the run directory to make; the recipe's by default.
        recipe: a YAML recipe with or without `finetune`; `RECIPE` by default.
        overrides: `key=value` of the recipe.

    Raises:
        VultusError: a dataset without splits, a source that cannot be trained on, a recipe that does not fit.
    """
    from vultus.training import load_recipe, train

    given: dict[str, Any] = {"data": {"train": _train_split(data)}, "model": {"weights": str(source)}}
    if run is not None:
        given["run"] = str(run)
    wanted = load_recipe(RECIPE if recipe is None else recipe, overrides, given)
    return train(wanted, quiet=quiet, models_dir=models_dir)


def _train_split(path: str | Path) -> str:
    """DATA/train of DATA; a split as it is. Raises `VultusError` saying how to split."""
    data = FaceDataset.open(path)
    if data.name is not None:
        return str(path)
    if "train" in data.splits:
        return str(Path(path) / "train")
    raise VultusError(
        f"{path} is not split, so nothing could tell whether fine-tuning helps; first "
        f"`vultus data split {path} --by identity train=0.6 val=0.2 test=0.2`"
    )
