"""The one place that writes to a terminal: lines, warnings, tables for results, a progress bar for every long job.
And the one that hears from it, or from a scheduler, that the work is to stop.

Whatever comes from outside (names, paths, a file's own words) may hold control characters that steer a terminal; here
they are spelt out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")
WIDE = 10_000
"""Columns of a pipe: no table is wider."""
EVERY = 10.0
"""Seconds from one line of progress to the next."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers and containers send: whatever ends well on Ctrl-C ends as well on it."""


def stop_on_sigterm() -> None:
    """From now on SIGTERM raises `Terminated` in the main thread, as Ctrl-C raises KeyboardInterrupt."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def exit_code(stop: KeyboardInterrupt) -> int:
    """What a shell expects of a process that was stopped: 128 and the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def leave_stopping_to_parent() -> None:
    """For a worker process: a terminal's Ctrl-C and a scheduler's SIGTERM reach it too; its parent ends it in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Stopping:
    """While entered, the first Ctrl-C or SIGTERM is only kept in `asked`; the second one stops at once."""

    def __init__(self) -> None:
        self.asked: KeyboardInterrupt | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *exception: object) -> None:
        self._put_back()


@contextmanager
def stoppable(how: str) -> Iterator[None]:
    """Where the command is stopped inside, say how to go on, and leave with the code that a shell expects."""
    try:
        yield
    except KeyboardInterrupt as stop:
        import typer

        say(f"{'terminated' if isinstance(stop, Terminated) else 'interrupted'}; {how}", err=True)
        raise typer.Exit(exit_code(stop)) from None


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
    """Yield from `iterable` under a bar with rate and time left on stderr; see `bar`."""
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)  # pyright: ignore[reportArgumentType]
    with bar(description, total) as told:
        for done, item in enumerate(iterable, 1):
            yield item
            told(done, total, f"{told.speed:,.0f} {unit}/s".replace(" /", "/") if told.speed else "")


class Lines:
    """How far it has got where nobody sees a bar, as in a log: a line every `EVERY` seconds; called as `Bar` is."""

    def __init__(self, description: str, done: int) -> None:
        self._description, self._first, self._done = description, done, done
        self._began = self._told = time.monotonic()

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        self._done = done
        if (now := time.monotonic()) - self._told < EVERY:
            return
        self._told = now
        share, left = "", ""
        if total:
            share = f" of {total:,} ({done / total:.0%})"
            left = f", {(total - done) / self.speed:,.0f} s left" if self.speed else ""
        say(f"{self._description}: {done:,}{share}{left}{f'  {note}' if note else ''}", err=True)

    @property
    def speed(self) -> float:
        """Of what is done, per second; 0 until it is known."""
        return (self._done - self._first) / max(1e-9, time.monotonic() - self._began)


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
def bar(description: str, total: int | None = None, done: int = 0) -> Iterator[Bar | Lines]:
    """A bar with time left on stderr, for what tells how far it has got; `Lines` where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield Lines(description, done)
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
