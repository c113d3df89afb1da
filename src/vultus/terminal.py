"""The one place that writes to a terminal: lines, warnings, tables for results, a progress bar for every long job.

Whatever comes from outside (names, paths, a file's own words) may hold control characters that steer a terminal; here
they are spelt out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def shown(text: object) -> str:
    """Text for a terminal: control characters, as a path may hold, are spelt out, so that they cannot steer it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def say(*lines: object, err: bool = False) -> None:
    """Print each on a line of its own, on stdout or stderr; a line break inside one is spelt out too."""
    import click

    for line in lines:
        click.echo(shown(line), err=err)


def warn(lines: Iterable[object]) -> None:
    """Each on a line of stderr, where it disturbs no answer."""
    say(*(f"warning: {line}" for line in lines), err=True)


def fail(error: BaseException | str) -> None:
    """A mistake, as one line of stderr."""
    say(f"error: {error}", err=True)


def track(iterable: Iterable[T], description: str, total: int | None = None, unit: str = "") -> Iterator[T]:
    """Yield from `iterable` under a bar with rate and time left on stderr; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield from iterable
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

    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)  # pyright: ignore[reportArgumentType]
    rate = TextColumn("{task.fields[rate]}")
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeElapsedColumn()]
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, rate="")
        for item in iterable:
            yield item
            progress.advance(task)
            speed = progress.tasks[0].speed
            if speed:
                progress.update(task, rate=f"{speed:,.0f} {unit}/s".replace(" /", "/"))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], notes: Sequence[str] = ()) -> None:
    """Print a table to stdout; plain text where it is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    drawn = Table(title=Text(shown(title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        drawn.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(shown(cell)) for cell in row))
    console.print(drawn)
    for note in notes:
        console.print(Text(shown(note)))
