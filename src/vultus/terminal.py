"""The one place that writes to a terminal: lines, warnings, tables for results, a progress bar for every long job.

Whatever comes from outside (names, paths, a file's own words) may hold control characters that steer a terminal; here
they are spelt out.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")
WIDE = 10_000
"""Columns of a pipe: no table is wider."""


def shown(text: object) -> str:
    """Text for a terminal: control characters, as a path may hold, are spelt out, so that they cannot steer it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def say(*lines: object, err: bool = False) -> None:
    """Print each on a line of its own, on stdout or stderr; a line break inside one is spelt out too."""
    import typer

    for line in lines:
        typer.echo(shown(line), err=err)


def warn(lines: Iterable[object]) -> None:
    """Each on a line of stderr, where it disturbs no answer."""
    say(*(f"warning: {line}" for line in lines), err=True)


def fail(error: BaseException | str) -> None:
    """A mistake, as one line of stderr."""
    say(f"error: {error}", err=True)


def say_json(value: object) -> None:
    """One JSON document on stdout, indented on a terminal; what could steer that is written as an escape of JSON."""
    import typer

    text = json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    typer.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def track(iterable: Iterable[T], description: str, total: int | None = None, unit: str = "") -> Iterator[T]:
    """Yield from `iterable` under a bar with rate and time left on stderr; silent where stderr is no terminal."""
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)  # pyright: ignore[reportArgumentType]
    with bar(description, total) as told:
        for done, item in enumerate(iterable, 1):
            yield item
            if told is not None:
                told(done, total, f"{told.speed:,.0f} {unit}/s".replace(" /", "/") if told.speed else "")


class Bar:
    """What a bar on the terminal shows; call it with what is done, of how much, and a note."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        self._progress.update(self._task, completed=done, total=total, note=shown(note))

    @property
    def speed(self) -> float:
        """Of what is done, per second; 0 until it is known."""
        return self._progress.tasks[0].speed or 0.0


@contextmanager
def bar(description: str, total: int | None = None, done: int = 0) -> Iterator[Bar | None]:
    """A bar with time left on stderr, for what tells how far it has got; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    texts = [TextColumn("{task." + name + "}", markup=False) for name in ("description", "fields[note]")]
    columns = (texts[0], BarColumn(), MofNCompleteColumn(), texts[1], TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bar(progress, progress.add_task(shown(description), total=total, completed=done, note=""))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], notes: Sequence[str] = ()) -> None:
    """Print a table to stdout; plain text where it is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # In a pipe nobody sees a right edge: lines are as long as they are, unless COLUMNS says otherwise.
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(highlight=False, width=WIDE if piped else None)
    drawn = Table(title=Text(shown(title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        drawn.add_column(shown(column), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(shown(cell)) for cell in row))
    console.print(drawn)
    for note in notes:
        console.print(Text(shown(note)))
