"""Who is to be enrolled: read person by person from a folder or a table, never held as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from vultus.errors import FileError, VultusError
from vultus.faces import IMAGE_SUFFIXES, find_photographs
from vultus.files import check_file, is_folder
from vultus.formats import read_table

COLUMNS = ("person", "image", "name", "select")
"""Columns of a table that have a meaning; any other is metadata."""
SELECTIONS = ("largest", "center")
MOST_TABLE = 16 * 2**30
"""Bytes of a table."""


@dataclass(frozen=True)
class Photo:
    """One photograph of a person."""

    path: Path
    select: str | None = None
    """Which face is meant, where the table says so."""


@dataclass(frozen=True)
class Entry:
    """One person and their photographs."""

    person: str
    photos: Sequence[Photo]
    name: str | None = None
    metadata: Mapping[str, Any] | None = None


class Source(Protocol):
    """May be gone through more than once."""

    def check(self) -> int:
        """How many entries there are; VultusError for what keeps the source from being read."""
        ...

    def __iter__(self) -> Iterator[Entry]: ...

    def loose(self) -> Iterator[Path]:
        """Photographs that belong to nobody."""
        ...


def open_source(path: Path) -> Source:
    """The folder or table at `path`; VultusError where there is neither."""
    if is_folder(path):
        return Folder(path)
    check_file(path, MOST_TABLE, "the folder or CSV file")
    return Table(path)


def value_of(text: str) -> Any:
    """A value as it is written on a command line or in a table.

    A number, true, false, null and "text in quotes" are what JSON takes them for, all else is text: 012 and NaN too.
    """
    try:
        value = json.loads(text, parse_constant=lambda word: word)
    except (ValueError, RecursionError):
        return text
    exact = not isinstance(value, int | float) or abs(value) < 2**53  # longer ones are identifiers, no quantities
    return value if exact and not isinstance(value, dict | list) else text


class Folder:
    """One folder a person, named as the person; photographs at any depth below it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> int:
        people = self._people()
        if not people:
            raise VultusError(
                f"{self._path} holds no folders; it must hold one folder of photographs a person, named as the person"
            )
        return len(people)

    def __iter__(self) -> Iterator[Entry]:
        for name in self._people():
            yield Entry(name, [Photo(path) for path in find_photographs(self._path / name)])

    def loose(self) -> Iterator[Path]:
        with os.scandir(self._path) as found:
            yield from sorted(Path(item.path) for item in found if _is_photograph(Path(item.path)))

    def _people(self) -> list[str]:
        try:
            with os.scandir(self._path) as found:
                return sorted(item.name for item in found if item.is_dir() and not item.name.startswith("."))
        except OSError as error:
            raise VultusError(f"cannot read {self._path}: {error.strerror}; check its permissions") from None


class Table:
    """A CSV file: a row a photograph, the rows of one person below each other. Paths are relative to the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> int:
        seen: set[str] = set()
        for entry in self:
            if entry.person in seen:
                raise VultusError(f"{self._path}: the rows of {entry.person!r} lie apart; sort the table by person")
            seen.add(entry.person)
        if not seen:
            raise VultusError(f"{self._path} has no rows; it needs a row a photograph, with its person and image")
        return len(seen)

    def __iter__(self) -> Iterator[Entry]:
        for person, rows in groupby(self._rows(), key=lambda row: row[1]["person"]):
            lines = list(rows)
            told: dict[str, str] = {}
            for line, row in lines:
                for column, text in row.items():
                    if column in ("person", "image", "select") or not text:
                        continue
                    if told.setdefault(column, text) != text:
                        raise self._wrong(line, f"{person!r} has two values of {column!r}; give one a person")
            photos = [Photo(self._path.parent / row["image"], row.get("select") or None) for _, row in lines]
            name = told.pop("name", None)
            yield Entry(person, photos, name, {key: value_of(text) for key, text in told.items()} or None)

    def loose(self) -> Iterator[Path]:
        return iter(())

    def _rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """(line, row) with stripped cells; FileError for a row that cannot be meant."""
        for line, row in read_table(self._path, ("person", "image"), "the table", ",;\t"):
            for column in ("person", "image"):
                if not row[column]:
                    raise self._wrong(line, f"{column} is empty; fill it in")
            if row.get("select", "") not in ("", *SELECTIONS):
                raise self._wrong(line, f"select is {row['select']!r}; choose largest or center, or leave it empty")
            yield line, row

    def _wrong(self, line: int, reason: str) -> FileError:
        return FileError(f"{self._path}, line {line}: {reason}", code="malformed", path=self._path, line=line)


def _is_photograph(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
