"""A recipe in, a run directory out."""

from vultus.training.loop import train
from vultus.training.recipe import Recipe, load_recipe
from vultus.training.run import Run, open_run

__all__ = ["Recipe", "Run", "load_recipe", "open_run", "train"]
