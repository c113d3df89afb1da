"""What files hold: text, JSON, CSV and arrays, read within bounds; whatever is broken is a `FileError` of one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import FileError, VultusError
from vultus.files import open_file, parsing, read_file, size_within

if TYPE_CHECKING:
    import numpy as np

MOST_TEXT = 256 * 2**20
"""Bytes of a text (a list, JSON, TOML, YAML) that is read as a whole; places that know better say less."""
MOST_ARRAY = 16 * 2**30
"""Bytes of an array file: the embeddings of eight million faces."""
MOST_LINE = 2**20
"""Characters of one row of a CSV file."""
MOST_COLUMNS = 500
"""Cells of one row of a CSV file."""
MOST_ROWS = 50_000_000
"""Rows of a CSV file, about as many as the largest public set of faces has photographs."""


def read_text(
    path: str | Path, most: int = MOST_TEXT, what: str = "the file", error: type[VultusError] = FileError
) -> str:
    """A text in UTF-8, with or without a byte order mark. Codes: those of `read_file`, and malformed."""
    try:
        text = read_file(path, most, what, error).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise error(f"{path} is no text in UTF-8; save it as UTF-8", code="malformed", path=path) from None
    if "\0" in text:
        raise error(f"{path} is no text: it holds NUL; save it as UTF-8", code="malformed", path=path)
    return text


def read_json(
    path: str | Path, mend: str, what: str = "JSON", most: int = MOST_TEXT, error: type[VultusError] = FileError
) -> Any:
    """The value that a JSON file holds. `what` it should be and `mend` are as in `parsing`.

    Codes: those of `read_file`, and malformed.
    """
    text = read_text(path, most, error=error)
    with parsing(path, what, mend, error):
        return json.loads(text)


def read_array(path: str | Path, what: str = "array file (.npy)", mend: str = "make it again") -> np.ndarray:
    """The array of a .npy file; nothing in it can execute. Codes: those of `read_file`, and malformed."""
    import numpy as np

    with open_file(path) as file, parsing(path, what, mend):
        size_within(file, path, MOST_ARRAY, "the file", FileError)
        return np.load(file, allow_pickle=False)


def read_lines(
    path: str | Path, what: str = "the file", error: type[VultusError] = FileError
) -> Iterator[tuple[int, str]]:
    """(number, text) of each line of a text in UTF-8, read as it goes.

    Codes: those of `open_file`; malformed for what is no such text; too_large for a line of `MOST_LINE` characters.
    """
    with open_file(path, what, error) as file, parsing(path, "text in UTF-8", "save it as UTF-8", error):
        text = io.TextIOWrapper(file, "utf-8-sig")
        for number, line in enumerate(iter(lambda: text.readline(MOST_LINE), ""), 1):
            if len(line) >= MOST_LINE:
                told = f"{path}, line {number}: a line of {MOST_LINE:,} characters or more; check the file"
                raise error(told, code="too_large", path=path, line=number)
            yield number, line


def read_rows(
    path: str | Path, what: str = "the CSV file", delimiters: str = ",", error: type[VultusError] = FileError
) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row of a CSV file in UTF-8 that is not empty, cells stripped; read as it goes.

    `delimiters`: the one that the first line holds most often parts the cells.
    Codes: those of `open_file`; malformed for what is no CSV; too_large for a row of more than `MOST_LINE` characters
    or `MOST_COLUMNS` cells, or more than `MOST_ROWS` rows. Fields: path, line.
    """
    read, number = 0, 1  # characters of the row so far, and the line that it begins in

    def lines() -> Iterator[str]:
        nonlocal read
        for piece in iter(lambda: text.readline(MOST_LINE), ""):
            read += len(piece)
            if read >= MOST_LINE:
                raise refused(f"a row of {MOST_LINE:,} characters or more", "too_large")
            if "\0" in piece:
                raise refused("the character NUL", "malformed")
            yield piece

    def refused(why: str, code: str) -> VultusError:
        return error(f"{path}, line {number}: {why}; check that it is a CSV file", code=code, path=path, line=number)

    with open_file(path, what, error) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        try:
            header = text.readline(MOST_LINE)
            text.seek(0)
            rows = csv.reader(lines(), delimiter=max(delimiters, key=header.count), strict=True)
            for count, row in enumerate(rows, 1):
                if len(row) > MOST_COLUMNS:
                    raise refused(f"{len(row):,} cells, at most {MOST_COLUMNS} are read", "too_large")
                if count > MOST_ROWS:
                    raise refused(f"more than {MOST_ROWS:,} rows", "too_large")
                if cells := [cell.strip() for cell in row]:
                    yield rows.line_num, cells
                read, number = 0, rows.line_num + 1
        except UnicodeDecodeError:
            told = f"{path} is no text in UTF-8; save it as CSV in UTF-8"
            raise error(told, code="malformed", path=path, line=number) from None
        except csv.Error as fault:
            raise refused(f"no CSV ({fault})", "malformed") from None
        except OSError as fault:
            raise error(f"{what} {path} cannot be read ({fault.strerror}); check it", path=path) from None


def read_table(
    path: str | Path,
    needed: Sequence[str],
    what: str = "the CSV file",
    delimiters: str = ",",
    error: type[VultusError] = FileError,
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cell by column) of each row below the header of a CSV file, see `read_rows`.

    Code: columns, for a header without one of `needed`, or with one twice or unnamed, and for a row of another length.
    """
    rows = read_rows(path, what, delimiters, error)
    _, names = next(rows, (1, []))
    told = f"its first line reads {', '.join(names)[:80]!r}"
    for name in needed:
        if name not in names:
            raise error(f"{path} has no column {name!r}; {told}", code="columns", path=path, line=1)
    if len(set(names)) < len(names) or "" in names:
        raise error(f"{path}: each column needs a name of its own; {told}", code="columns", path=path, line=1)
    for line, cells in rows:
        if len(cells) != len(names):
            why = f"{path}, line {line}: {len(cells)} cells where the first line has {len(names)}"
            raise error(f"{why}; correct it", code="columns", path=path, line=line)
        yield line, dict(zip(names, cells, strict=True))
