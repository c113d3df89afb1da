"""What a person sees of a run: a bar with loss, images/s and time left, and a line at each validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vultus import terminal
from vultus.training.validation import ValidationResult


class Reporter:
    """Writes to stderr; a bar on a terminal, lines elsewhere, nothing if `quiet`."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def say(self, line: str) -> None:
        if not self.quiet:
            terminal.say(line, err=True)

    @contextmanager
    def bar(self, steps: int, done: int) -> Iterator[_Bar]:
        if self.quiet:
            yield _Bar(None, steps, done)
            return
        with terminal.bar("train", steps, done) as shown:
            yield _Bar(shown, steps, done)

    def validated(self, step: int, result: ValidationResult) -> None:
        self.say(f"step {step}: validation TAR {result.tar:.3f} at FAR {result.far:g}, AUC {result.auc:.4f}")


class _Bar:
    def __init__(self, shown: terminal.Bar | terminal.Lines | None, steps: int, done: int) -> None:
        self._shown, self._steps, self._done, self._loss = shown, steps, done, float("nan")

    def total(self, steps: int) -> None:
        self._steps = steps

    def advance(self, loss: float, images: int) -> None:
        self._done += 1
        self._loss = loss if self._loss != self._loss else 0.95 * self._loss + 0.05 * loss
        if self._shown is not None:
            self._shown(self._done, self._steps, f"loss {self._loss:.3f}  {self._shown.speed * images:.0f} images/s")
