"""The run directory: recipe.yaml, run.json, seen.json, metrics.csv, TensorBoard events, last.pt and best.pt."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import vultus
from vultus.data import Seen
from vultus.errors import FileError, VultusError
from vultus.files import MOST_WEIGHTS, check_file, is_file, is_folder, parsing, read_file, save_atomically, writing
from vultus.formats import read_json
from vultus.training.recipe import Recipe, dotted, read_yaml

if TYPE_CHECKING:
    import torch

FORMAT = "vultus-run-1"
OBSERVED = ("target_cos", "margin", "past_pi", "active", "norm_mean", "norm_std")
"""What a loss tells of its last batch: mean target cosine, what the margin takes off it, share of samples whose
margined angle lies past pi; share of pairs or triplets with a loss; mean and deviation of the raw norms."""
COLUMNS: tuple[str, ...] = ("step", "epoch", "seconds", "loss", "lr", "grad_norm", "head_grad_norm", *OBSERVED, "drift")
COLUMNS += ("images_per_second", "val_tar", "val_far", "val_auc")
MOST_METRICS = 1 << 30
"""Bytes of metrics.csv."""


@dataclass
class Run:
    """A run directory on disk. `facts` is what the code found out and a resumed run must find again."""

    path: Path
    recipe: Recipe
    facts: dict[str, Any]

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    def checkpoint(self, which: str = "last") -> Path:
        return self.path / f"{which}.pt"

    @classmethod
    def create(cls, recipe: Recipe, facts: dict[str, Any], seen: Seen) -> Run:
        """Make the directory; refused where one holds something already."""
        path = Path(recipe.run)
        check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the run directory {path}: {error.strerror}", code="unwritable") from None
        facts = {
            "format": FORMAT,
            "vultus": vultus.__version__,
            "commit": _commit(),
            "recipe_digests": _digests(recipe),
            **facts,
            "python": platform.python_version(),
        }
        save_atomically(yaml.safe_dump(recipe.model_dump(), sort_keys=False).encode(), path / "recipe.yaml")
        save_atomically((json.dumps(seen.to_dict()) + "\n").encode(), path / "seen.json")
        run = cls(path, recipe, facts)
        run.record()
        return run

    def save(self, state: dict[str, Any], which: str = "last") -> None:
        """Write a checkpoint whole or not at all."""
        import torch

        with writing(self.checkpoint(which)) as file:
            torch.save(state, file)

    def load(self, which: str = "last") -> dict[str, Any]:
        """Read a checkpoint; tensors only, nothing in it can execute."""
        return load_checkpoint(self.checkpoint(which))

    @property
    def seen(self) -> Seen | None:
        """Whom the run was trained on and validated with, None where its seen.json is gone."""
        path = self.path / "seen.json"
        if not path.is_file():
            return None
        with parsing(path, "list of whom a run has seen", "train again"):
            return Seen.from_dict(read_json(path, "train again"))

    def record(self, **facts: Any) -> None:
        """Add to run.json what became known later."""
        self.facts |= facts
        save_atomically((json.dumps(self.facts, indent=2) + "\n").encode(), self.path / "run.json")

    def rows(self) -> list[dict[str, str]]:
        """metrics.csv, a dictionary a row. What is damaged in it is left out: see `read_metrics`."""
        return self.read_metrics()[0]

    def read_metrics(self) -> tuple[list[dict[str, str]], int]:
        """The rows, and how many lines of metrics.csv are neither its header nor a row, as a power cut leaves them.

        It only tells of the run: that goes on as the checkpoint says.
        """
        if not self.metrics.is_file():
            return [], 0
        lines = read_file(self.metrics, MOST_METRICS, "the run's").decode(errors="replace").splitlines()
        cells = [line.split(",") for line in lines]
        rows = [dict(zip(COLUMNS, row)) for row in cells if _is_row(row)]
        return rows, len(lines) - len(rows) - cells.count(list(COLUMNS))

    def check_recipe(self) -> None:
        """VultusError, code recipe_edited, where recipe.yaml is no longer what the run was begun with."""
        now = _digests(self.recipe)
        begun = self.facts.get("recipe_digests", now)
        if changed := sorted(key for key in begun.keys() | now.keys() if begun.get(key) != now.get(key)):
            raise VultusError(
                f"{self.path}/recipe.yaml was edited since the run began ({', '.join(changed[:6])}); a resumed run "
                "keeps its recipe: put it back, or start a new run with another run=",
                code="recipe_edited",
                keys=changed,
            )


def _is_row(cells: list[str]) -> bool:
    """As many cells as there are columns, a step first, and numbers or nothing."""
    try:
        int(cells[0])
        [float(cell) for cell in cells if cell]
        return len(cells) == len(COLUMNS)
    except ValueError:
        return False


def _digests(recipe: Recipe) -> dict[str, str]:
    """A digest of each value, by its dotted key: run.json must not hold paths, which recipe.yaml does."""
    values = dotted(recipe.model_dump(mode="json"))
    return {key: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12] for key, value in values.items()}


class MetricsWriter:
    """metrics.csv and TensorBoard events, together. Rows after `step` of an earlier, interrupted life are dropped, and
    lines that hold no row, `dropped` many."""

    def __init__(self, run: Run, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        rows, self.dropped = run.read_metrics()
        kept = [row for row in rows if int(row["step"]) <= step]
        self._file = run.metrics.open("w", newline="")
        self._csv: csv.DictWriter[str] = csv.DictWriter(self._file, list(COLUMNS), restval="")
        self._csv.writeheader()
        self._csv.writerows(kept)
        self._board = SummaryWriter(str(run.path / "events"), purge_step=step + 1 if step else None)

    def add(self, **values: float) -> None:
        self._csv.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()})
        self._file.flush()
        for name, value in values.items():
            if name not in ("step", "epoch", "seconds"):
                self._board.add_scalar(name, value, int(values["step"]))

    def close(self) -> None:
        self._file.close()
        self._board.close()


def check_free(path: Path) -> None:
    """Raises `VultusError` where `path` holds a run or anything else."""
    if is_file(path / "run.json"):
        raise VultusError(
            f"{path} already holds a run; go on with `vultus train --resume {path}` or choose another run="
        )
    if is_file(path) or (is_folder(path) and any(path.iterdir())):
        raise VultusError(f"{path} exists and is not empty; choose another run=")


def open_run(path: str | Path) -> Run:
    """Open a run directory. Raises `VultusError` if it is none or its files are broken."""
    path = Path(path)
    if not is_file(path / "run.json") or not is_file(path / "recipe.yaml"):
        raise VultusError(f"{path} is no run directory; it should hold recipe.yaml and run.json")
    facts = read_json(path / "run.json", "train again", "description of a run")
    found = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
    if found != FORMAT:
        raise VultusError(f"{path} has format {found!r}; this version reads {FORMAT!r}")
    return Run(path, Recipe.from_dict(read_yaml(path / "recipe.yaml"), str(path / "recipe.yaml")), facts)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors and plain values of a checkpoint, on the CPU."""
    import torch

    if not is_file(path):
        raise VultusError(f"{path} does not exist; the run has not reached its first checkpoint")
    check_file(path, MOST_WEIGHTS, "the checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not {"model", "step"} <= set(state):
            raise KeyError("no weights in it")
        return state
    except Exception as error:
        raise VultusError(
            f"checkpoint {path} is broken ({type(error).__name__}); "
            "use the other one of best.pt and last.pt, or train again"
        ) from None


def empty_network(run: Run) -> torch.nn.Module:
    """The run's network without its weights."""
    section = run.recipe.model
    if section.weights is None:
        from vultus.models import create_model

        return create_model(section.name, section.embedding_dim, **section.options)
    from vultus.models.weights import rebuild

    if "architecture" not in run.facts:
        raise VultusError(f"{run.path}/run.json does not say what network was fine-tuned; train again")
    return rebuild(run.facts["architecture"], run.path)


def load_model(run: Run, which: str | None = None) -> tuple[torch.nn.Module, str]:
    """The network of a run in evaluation mode, from best.pt if there is one; and which checkpoint it was."""
    which = which or ("best" if run.checkpoint("best").is_file() else "last")
    state = run.load(which)
    network = empty_network(run)
    try:
        network.load_state_dict(state["model"])
    except RuntimeError as error:
        name = run.facts.get("architecture", {}).get("name") or run.recipe.model.name
        raise VultusError(f"{run.checkpoint(which)} does not fit {name}: {str(error).splitlines()[0]}") from None
    return network.eval(), which


def _commit() -> str | None:
    """Commit of the code, where it runs from a checkout."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def now() -> str:
    """UTC, seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
