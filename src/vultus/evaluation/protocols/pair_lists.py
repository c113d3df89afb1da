"""Lists of pairs: LFW's format (XQLFW's too) and a CSV; `official_lists` reads CFP's, CALFW's and CPLFW's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus.errors import VultusError
from vultus.formats import read_rows, read_text


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of images in protocol order.

    An image is named by its identity and its number there (`names`, `numbers`: the LFW format) or by its path
    (`paths`); `names` also stands beside paths that say whose they are. What a list does not say is empty.
    """

    folds: np.ndarray
    """(P,) int64, 0..k-1."""
    same: np.ndarray
    """(P,) bool: one person on both images."""
    names: tuple[tuple[str, str], ...] = ()
    numbers: tuple[tuple[int, int], ...] = ()
    paths: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.same)

    @property
    def identities(self) -> np.ndarray | None:
        """(P, 2) int64 codes of whose images they are; None where the list does not say."""
        if not self.names:
            return None
        return np.unique(np.array(self.names), return_inverse=True)[1].reshape(-1, 2).astype(np.int64)


def parse_lfw_pairs(path: str | Path) -> Pairs:
    """Read LFW's `pairs.txt`: a header "folds<TAB>n", then for each fold n mated and n non-mated lines.

    Mated lines read "name a b", non-mated ones "name1 a name2 b". Fields are separated by tabs or blanks. A header
    "n" alone (LFW's View 1) means one fold. XQLFW's list has this format too. Raises VultusError naming file and line.
    """
    lines = read_list(path).splitlines()
    header = lines[0].split() if lines else []
    if len(header) not in (1, 2) or not all(field.isdigit() and int(field) > 0 for field in header):
        raise VultusError(f'{path}, line 1: expected the header "folds<TAB>pairs", found {show(lines[:1])}')
    k, each = (1, int(header[0])) if len(header) == 1 else (int(header[0]), int(header[1]))
    body = [(number, line.split()) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(header) == 1 and body and len(body[-1][1]) == 2 and body[-1][1][1].isdigit():
        raise VultusError(f"{path} lists people, not pairs; give the pairs.txt that belongs to it")
    if len(body) != 2 * k * each:
        raise VultusError(
            f"{path}: the header promises {k} x 2 x {each} = {2 * k * each} pairs, the file holds {len(body)}; "
            "correct the header or the list"
        )
    names, numbers, same = [], [], []
    for index, (number, words) in enumerate(body):
        mated = index // each % 2 == 0
        form = "name a b" if mated else "name1 a name2 b"
        if len(words) != (3 if mated else 4) or not (words[1].isdigit() and words[-1].isdigit()):
            raise VultusError(f'{path}, line {number}: expected "{form}", found {show(lines[number - 1 : number])}')
        names.append((words[0], words[0] if mated else words[2]))
        numbers.append((int(words[1]), int(words[-1])))
        same.append(mated)
    return Pairs(
        folds=np.arange(len(body)) // (2 * each), same=np.array(same), names=tuple(names), numbers=tuple(numbers)
    )


def parse_pairs_csv(path: str | Path, folds: int = 10) -> Pairs:
    """Read a CSV of "path,path,same" or "fold,path,path,same", with or without a header.

    `same` is 0/1, true/false or yes/no. Without a fold column the mated and the non-mated pairs are each dealt in turn
    into `folds` folds (fewer with few pairs), which does not keep identities apart: prefer a list with folds.
    Raises VultusError naming file and line.
    """
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    paths, same, given = [], [], []
    width = 0
    for number, row in read_rows(path, "the list"):
        if not any(row) or (number == 1 and row[-1].lower() == "same"):
            continue
        width = width or len(row)
        form = "fold,path,path,same" if width == 4 else "path,path,same"
        if len(row) not in (3, 4) or len(row) != width or row[-1].lower() not in words or not all(row):
            raise VultusError(f'{path}, line {number}: expected "{form}", found {show([",".join(row)])}')
        if width == 4:
            if not row[0].isdigit():
                raise VultusError(f"{path}, line {number}: expected a fold number, found {show(row[:1])}")
            given.append(int(row[0]))
        paths.append((row[-3], row[-2]))
        same.append(words[row[-1].lower()])
    if not same:
        raise VultusError(f"{path}: no pairs in it; write lines of path,path,same")
    is_same = np.array(same)
    if given:
        fold = np.unique(given, return_inverse=True)[1]
    else:
        turn = np.where(is_same, np.cumsum(is_same), np.cumsum(~is_same)) - 1
        fold = turn % min(folds, max(1, int(is_same.sum())), max(1, int((~is_same).sum())))
    return Pairs(folds=fold.astype(np.int64), same=is_same, paths=tuple(paths))


def read_list(path: str | Path) -> str:
    """The text of a list, or a FileError that says why it cannot be had."""
    return read_text(path, what="the list")


def show(lines: list[str]) -> str:
    """The first of the lines, for an error message."""
    return repr(lines[0][:60]) if lines else "nothing"
