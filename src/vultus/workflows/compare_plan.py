"""What `vultus compare` trains: recipes that differ in the loss alone, each with each seed, on one dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vultus.data import FaceDataset
from vultus.errors import VultusError

if TYPE_CHECKING:
    from vultus.training.recipe import Recipe

SPLITS = ("train", "test")
"""Splits that a comparison needs; `val` chooses checkpoints where there is one."""


@dataclass(frozen=True)
class Candidate:
    """A recipe of the comparison."""

    name: str
    """Stem of its file."""
    recipe: Recipe
    different: tuple[str, ...] = ()
    """Keys outside the loss in which it differs from the first recipe, with both values: "optimizer.lr (0.1, 0.05)"."""

    @property
    def loss(self) -> str:
        """The loss in words, with the parameters given."""
        section = self.recipe.loss.model_dump(exclude_defaults=True, exclude_none=True)
        options = [
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in section.items()
        ]
        return ", ".join([self.recipe.loss.name, *(option for option in options if not option.startswith("name "))])


@dataclass(frozen=True)
class Planned:
    """One run: a candidate with a seed, and the folder that keeps it."""

    candidate: Candidate
    seed: int
    folder: Path
    """Holds `run` (the run directory), outcome.json and the embeddings of the test crops."""

    @property
    def title(self) -> str:
        return f"{self.candidate.name}, seed {self.seed}"

    @property
    def recipe(self) -> Recipe:
        """The candidate's recipe with this seed and run directory."""
        training = self.candidate.recipe.training.model_copy(update={"seed": self.seed})
        return self.candidate.recipe.model_copy(update={"training": training, "run": str(self.folder / "run")})


@dataclass(frozen=True)
class Plan:
    candidates: tuple[Candidate, ...]
    runs: tuple[Planned, ...]
    """Seed after seed, so that an interrupted comparison is one of fewer seeds."""
    train: FaceDataset
    test: FaceDataset
    seeds: int


def make_plan(
    recipes: Sequence[str | Path],
    data: str | Path,
    out: str | Path,
    *,
    seeds: int = 3,
    overrides: Sequence[str] = (),
    max_per_identity: int | None = None,
    different: bool = False,
) -> Plan:
    """Read the recipes, with data.train = `data`/train, and lay out the runs in `out`.

    A run is recognised by the digest of its recipe, seed and data: a changed recipe or dataset makes new runs.
    Candidates stand in the order of `vultus losses`, those of one loss as given.

    Raises:
        VultusError: fewer than two recipes, two that are the same, unless `different` one that differs in more than
            the loss, a dataset without the splits train and test or with people in both.
    """
    from vultus.losses import LOSSES
    from vultus.training import load_recipe

    if seeds < 1:
        raise VultusError(f"--seeds {seeds}: at least 1 is needed")
    train, test = (_split(Path(data), name) for name in SPLITS)
    if shared := set(train.identities) & set(test.identities):
        raise VultusError(f"{len(shared)} identities of {data} are in train and in test; split again, --by identity")
    if max_per_identity is not None:
        if max_per_identity < 2:
            raise VultusError(f"--max-per-identity {max_per_identity}: at least 2 are needed for a mated pair")
        test = test.at_most(max_per_identity)
    given = {"data": {"train": str(Path(data) / "train")}}
    loaded = [Candidate(Path(path).stem, load_recipe(path, overrides, given)) for path in recipes]
    if len(loaded) < 2:
        raise VultusError("a comparison needs two recipes at least, as recipes/compare/*.yaml")
    order = list(LOSSES)
    loaded.sort(key=lambda candidate: order.index(candidate.recipe.loss.name.lower()))
    candidates = tuple(_under_one_budget(loaded, different))
    validation = _validation_digest(candidates[0].recipe)
    runs = [_planned(each, seed, train, validation, Path(out)) for seed in range(seeds) for each in candidates]
    _no_twins(candidates, runs)
    return Plan(candidates, tuple(runs), train, test, seeds)


def _split(data: Path, name: str) -> FaceDataset:
    if (data / "dataset.json").is_file() and not (data / "splits" / f"{name}.npy").is_file():
        raise VultusError(
            f"{data} has no split {name!r}; first `vultus data split {data} --by identity train=0.6 val=0.1 test=0.3`"
        )
    return FaceDataset.open(data / name)


def _under_one_budget(candidates: Sequence[Candidate], different: bool) -> list[Candidate]:
    """The candidates, each with the keys that set it apart; refused unless `different`."""
    first, found = candidates[0], []
    for candidate in candidates:
        keys = differences(first.recipe, candidate.recipe)
        if keys and not different:
            raise VultusError(
                f"{candidate.name} differs from {first.name} in {'; '.join(keys)}, but losses are compared under one "
                "budget: make these equal, or compare nevertheless with --different, which lists them"
            )
        found.append(Candidate(candidate.name, candidate.recipe, tuple(keys)))
    return found


def differences(first: Recipe, second: Recipe) -> list[str]:
    """Keys outside the loss in which two recipes differ, with both values.

    Not the run directory and the seed, which the comparison sets, nor the images an identity in a batch of a loss that
    compares pairs: it cannot do without them.
    """
    from vultus.training.recipe import dotted

    left, right = (dotted(recipe.model_dump(exclude={"run", "loss"})) for recipe in (first, second))
    spared = {"training.seed"}
    if first.loss.pairs or second.loss.pairs:
        spared.add("training.images_per_identity")
    return [
        f"{key} ({left.get(key)}, {right.get(key)})"
        for key in sorted({*left, *right} - spared)
        if left.get(key) != right.get(key)
    ]


def _planned(candidate: Candidate, seed: int, train: FaceDataset, validation: str | None, out: Path) -> Planned:
    """The run with the folder that it has already, whatever its recipe's file was called then, or will have."""
    values = candidate.recipe.model_dump(mode="json", exclude={"run": True, "data": {"train", "validation"}})
    values["training"]["seed"] = seed
    content = json.dumps([values, train.digest, validation], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    there = sorted((out / "runs").glob(f"*-{digest}"))
    return Planned(candidate, seed, there[0] if there else out / "runs" / f"{candidate.name}-seed{seed}-{digest}")


def _validation_digest(recipe: Recipe) -> str | None:
    """Digest of the split that chooses the checkpoints, None without one."""
    from vultus.training.validation import validation_split

    path = validation_split(recipe.data.train, recipe.data.validation)
    return None if path is None else FaceDataset.open(path).digest


def _no_twins(candidates: Sequence[Candidate], runs: Sequence[Planned]) -> None:
    names = [candidate.name for candidate in candidates]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise VultusError(f"two recipes are called {twice[0]}; give each file a name of its own")
    owner: dict[str, str] = {}
    for run in runs:
        other = owner.setdefault(run.folder.name.rpartition("-")[2], run.title)
        if other != run.title:
            raise VultusError(
                f"{run.candidate.name} is the same recipe as {other.split(',')[0]}; leave one of them out"
            )
