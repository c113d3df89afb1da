"""What a person sees of a run: a bar with loss, images/s and time left, and a line at each validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vultus.training.validation import ValidationResult


class Reporter:
    """Writes to stderr; a bar on a terminal, lines elsewhere, nothing if `quiet`."""

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console

        self.quiet = quiet
        self._console = Console(stderr=True, quiet=quiet, highlight=False)

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, steps: int, done: int) -> Iterator[_Bar]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = [
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:.0f} images/s "),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
        ]
        progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        with progress:
            task = progress.add_task("train", total=steps, completed=done, loss=float("nan"), speed=0.0)
            yield _Bar(progress, task)

    def validated(self, step: int, result: ValidationResult) -> None:
        self._console.print(f"step {step}: validation TAR {result.tar:.3f} at FAR {result.far:g}, AUC {result.auc:.4f}")


class _Bar:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task, self._loss = progress, task, float("nan")

    def total(self, steps: int) -> None:
        self._progress.update(self._task, total=steps)

    def advance(self, loss: float, images: int) -> None:
        self._loss = loss if self._loss != self._loss else 0.95 * self._loss + 0.05 * loss
        speed = self._progress.tasks[0].speed or 0.0
        self._progress.update(self._task, advance=1, loss=self._loss, speed=speed * images)
