"""The pair lists of CFP, CALFW and CPLFW as their authors publish them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.protocols.pair_lists import Pairs, parse_lfw_pairs, parse_pairs_csv, read_list, show


def parse_pairs(path: str | Path, folds: int = 10) -> Pairs:
    """Read a published list of pairs, told by what is there.

    * a CSV (suffix `.csv`), whose pairs without a fold are dealt into `folds` (`parse_pairs_csv`);
    * a folder `Split/FF` or `Split/FP` of CFP's Protocol (`parse_cfp`);
    * "image label" lines, two a pair, as CALFW and CPLFW have them (`parse_two_lines`);
    * otherwise LFW's format (`parse_lfw_pairs`).
    """
    path = Path(path)
    if path.is_dir():
        return parse_cfp(path)
    if path.suffix.lower() == ".csv":
        return parse_pairs_csv(path, folds)
    text = read_list(path)
    return parse_two_lines(path, folds) if is_two_lines(text) else parse_lfw_pairs(path)


def parse_cfp(folder: str | Path) -> Pairs:
    """Read a protocol of CFP (Sengupta et al., WACV 2016): the folder `Protocol/Split/FF` or `Protocol/Split/FP`.

    Its subfolders 01, 02, ... are the folds, each with `same.txt` and `diff.txt` of lines "i,j": numbers from 1 in
    `Protocol/Pair_list_F.txt` (frontal), the second of FP in `Pair_list_P.txt` (profile), whose lines read
    "number path". Paths are given from the person's folder on, "001/frontal/01.jpg". The folds share no identity.
    Raises VultusError naming file and line.
    """
    folder = Path(folder)
    if folder.name not in ("FF", "FP") or folder.parent.name != "Split":
        raise VultusError(
            f"{folder} is no list of pairs; of CFP give the folder Protocol/Split/FF or Protocol/Split/FP"
        )
    protocol = folder.parent.parent
    frontal = _numbered(protocol / "Pair_list_F.txt")
    second = frontal if folder.name == "FF" else _numbered(protocol / "Pair_list_P.txt")
    folds, same, paths, names = [], [], [], []
    for fold, part in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for file, mated in ((part / "same.txt", True), (part / "diff.txt", False)):
            for number, line in enumerate(read_list(file).splitlines(), start=1):
                if not line.strip():
                    continue
                where = f"{file}, line {number}"
                fields = [field.strip() for field in line.split(",")]
                if len(fields) != 2 or not all(field.isdigit() for field in fields):
                    raise VultusError(f'{where}: expected "i,j", found {show([line])}')
                pair = []
                for field, images in zip(fields, (frontal, second), strict=True):
                    if int(field) not in images:
                        raise VultusError(f"{where}: the image lists of {protocol} have no number {field}")
                    pair.append(images[int(field)])
                folds.append(fold)
                same.append(mated)
                paths.append((pair[0].as_posix(), pair[1].as_posix()))
                names.append((pair[0].parts[0], pair[1].parts[0]))
    if not same:
        raise VultusError(f"{folder} has no folds: expected {folder.name}/01/same.txt and diff.txt")
    return Pairs(np.array(folds, np.int64), np.array(same), names=tuple(names), paths=tuple(paths))


def is_two_lines(text: str) -> bool:
    """Whether a list has the form of `parse_two_lines`: "image.jpg 1" in its first line."""
    words = text.split("\n", 1)[0].split()
    return len(words) == 2 and words[1].isdigit() and not words[0].isdigit()


def parse_two_lines(path: str | Path, folds: int = 10) -> Pairs:
    """Read `pairs_CALFW.txt` or `pairs_CPLFW.txt`: two lines "image number" a pair, number 0 where they differ.

    Images are named "Name_Of_Person_0001.jpg". The lists say the fold of their mated pairs at most (CALFW's numbers
    1..10), never that of the others, so mated and non-mated pairs are each cut into `folds` consecutive parts. People
    are therefore in several folds. Raises VultusError naming file and line.
    """
    lines = [(n, line.split()) for n, line in enumerate(read_list(path).splitlines(), start=1) if line.strip()]
    for number, words in lines:
        if len(words) != 2 or not words[1].isdigit():
            raise VultusError(f'{path}, line {number}: expected "image number", found {show([" ".join(words)])}')
    if len(lines) % 2:
        raise VultusError(f"{path} holds {len(lines)} lines; every pair takes two")
    same, paths, names = [], [], []
    for (_, first), (number, second) in zip(lines[::2], lines[1::2], strict=True):
        if first[1] != second[1]:
            raise VultusError(
                f"{path}, line {number}: the two images of a pair have the numbers {first[1]}, {second[1]}"
            )
        same.append(second[1] != "0")
        paths.append((first[0], second[0]))
        names.append((_person(first[0]), _person(second[0])))
    is_same = np.array(same)
    fold = np.empty(len(same), np.int64)
    for kind in (is_same, ~is_same):
        fold[kind] = consecutive_folds(int(kind.sum()), folds)
    return Pairs(fold, is_same, names=tuple(names), paths=tuple(paths))


def consecutive_folds(pairs: int, folds: int) -> np.ndarray:
    """(pairs,) int64: `folds` runs of equal length in order; the first ones are longer by one where it does not go."""
    sizes = [len(part) for part in np.array_split(np.arange(pairs), folds)]
    return np.repeat(np.arange(folds), sizes).astype(np.int64)


def _numbered(path: Path) -> dict[int, PurePosixPath]:
    """Image paths from the person's folder on, by the number that their line starts with."""
    images: dict[int, PurePosixPath] = {}
    for number, line in enumerate(read_list(path).splitlines(), start=1):
        if not line.strip():
            continue
        words = line.split()
        image = PurePosixPath(words[-1].replace("\\", "/"))
        if len(words) != 2 or not words[0].isdigit() or len(image.parts) < 3 or int(words[0]) in images:
            raise VultusError(f'{path}, line {number}: expected "number path", found {show([line])}')
        images[int(words[0])] = PurePosixPath(*image.parts[-3:])
    return images


def _person(image: str) -> str:
    """ "Name_Of_Person" of "Name_Of_Person_0001.jpg"."""
    stem = PurePosixPath(image).stem
    return re.sub(r"_\d+$", "", stem)
