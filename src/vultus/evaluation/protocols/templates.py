"""Protocols over templates in the layout of IJB-B and IJB-C: which images make a template, which templates compare.

ijbc_face_tid_mid.txt         image, template, media: one line a face crop
ijbc_template_pair_label.txt  template, template, 1 (one person) or 0
ijbc_name_5pts_score.txt      image, ten coordinates of five landmarks, detector score (only for pooling by it)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.comparisons import pair_key
from vultus.evaluation.protocols.listed import joined
from vultus.evaluation.protocols.pair_lists import show
from vultus.files import check_file, open_file
from vultus.formats import read_lines

FACES, PAIRS, SCORES = "face_tid_mid.txt", "template_pair_label.txt", "name_5pts_score.txt"

PUBLISHED = {
    "ijbb": {"images": 227_630, "templates": 12_115, "pairs": 8_010_270, "mated": 10_270},
    "ijbc": {"images": 469_375, "templates": 23_124, "pairs": 15_658_489, "mated": 19_557},
}
"""Counts of the 1:1 protocols (Whitelam et al. 2017; Maze et al. 2018) in the files that InsightFace distributes."""


MOST_PAIRS = 4 * 2**30
"""Bytes of a list of pairs of templates, ten times the largest published one."""


@dataclass(frozen=True, eq=False)
class TemplateProtocol:
    """N images in T templates, and P pairs of templates."""

    name: str
    images: tuple[str, ...]
    """(N,) names of image files."""
    template_ids: np.ndarray
    """(T,) int64, ascending: the numbers that the files use."""
    templates: np.ndarray
    """(N,) int32: place of each image's template in `template_ids`."""
    media: np.ndarray
    """(N,) int64: the photograph or video that each image is of; images of one media are frames."""
    pairs: np.ndarray
    """(P, 2) int32: places in `template_ids`."""
    same: np.ndarray
    """(P,) bool: one person in both templates."""
    detector_scores: np.ndarray | None = None
    """(N,) float64, where the protocol brings them."""

    @cached_property
    def people(self) -> np.ndarray | None:
        """(T,) int64: whose templates they are, as far as the pairs say; None where they contradict themselves.

        The files name nobody. Templates that mated pairs join, over others too, are of one person; a person with
        templates that no mated pair joins counts as several, which makes intervals a little too narrow. A non-mated
        pair of joined templates is a contradiction.
        """
        mated = self.pairs[self.same]
        person = joined(len(self.template_ids), mated[:, 0], mated[:, 1])
        apart = self.pairs[~self.same]
        return None if (person[apart[:, 0]] == person[apart[:, 1]]).any() else person


def find_protocol(folder: str | Path) -> TemplateProtocol:
    """Read the protocol whose files lie in `folder` or in its `meta`: one of each kind, told by the end of its name."""
    folder = Path(folder)
    for place in (folder, folder / "meta"):
        faces = sorted(place.glob(f"*{FACES}"))
        if faces:
            break
    else:
        raise VultusError(f"{folder} holds no template protocol: expected a file NAME_{FACES} in it or in its meta")
    if len(faces) > 1:
        raise VultusError(f"{place} holds {len(faces)} files *{FACES}; give a folder with one protocol")
    name = faces[0].name.removesuffix(FACES)
    scores = place / (name + SCORES)
    return read_protocol(faces[0], place / (name + PAIRS), scores if scores.is_file() else None)


def read_protocol(faces: str | Path, pairs: str | Path, scores: str | Path | None = None) -> TemplateProtocol:
    """Read a protocol from its files, see above. The name is what stands before `_face_tid_mid.txt`.

    For a protocol named ijbb or ijbc, the numbers of images, templates and pairs must be the published ones.
    Raises VultusError naming file and line: fields that are no numbers, a header, a pair of a template without images,
    a label that is not 0 or 1, an image twice in a template, a pair that is listed twice.
    """
    faces, pairs = Path(faces), Path(pairs)
    name = faces.name.removesuffix(FACES).rstrip("_") or faces.stem
    images, members, media = _read_faces(faces)
    template_ids, templates = np.unique(members, return_inverse=True)
    table = _read_pairs(pairs)
    places = np.minimum(np.searchsorted(template_ids, table[:, :2]), len(template_ids) - 1)
    unknown = template_ids[places] != table[:, :2]
    if unknown.any():
        row, side = np.argwhere(unknown)[0]
        raise VultusError(
            f"{pairs}, pair {row + 1}: template {table[row, side]} has no image in {faces}; "
            "the two files do not belong together"
        )
    found = TemplateProtocol(
        name,
        images,
        template_ids,
        templates.astype(np.int32),
        media,
        places.astype(np.int32),
        table[:, 2] == 1,
        None if scores is None else _read_scores(Path(scores), images),
    )
    if name.lower() in PUBLISHED:
        check_counts(found, PUBLISHED[name.lower()])
    else:
        _check_pairs(found, pairs)
    return found


def _read_faces(path: Path) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """(images, templates, media) of the lines "image template media"."""
    images, numbers = [], []
    lines: dict[tuple[str, int], int] = {}
    for number, words in _lines(path):
        if len(words) != 3 or not (words[1].isdigit() and words[2].isdigit()):
            raise VultusError(
                f'{path}, line {number}: expected "image template media", found {show([" ".join(words)])}'
            )
        key = (words[0], int(words[1]))
        if lines.setdefault(key, number) != number:
            raise VultusError(f"{path}, line {number}: {words[0]} is in template {words[1]} since line {lines[key]}")
        images.append(words[0])
        numbers.append((key[1], int(words[2])))
    if not images:
        raise VultusError(f"{path}: no image in it; expected lines of image template media")
    table = np.array(numbers, np.int64)
    return tuple(images), table[:, 0], table[:, 1]


def _read_pairs(path: Path) -> np.ndarray:
    """(P, 3) int64: two templates and the label."""
    check_file(path, MOST_PAIRS, "the template pairs")
    try:
        with open_file(path, "the template pairs") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file; it is refused below
            table = np.loadtxt(file, dtype=np.int64, ndmin=2, comments=None)
        good = table.shape[1] == 3 and len(table) > 0 and bool(((table[:, 2] == 0) | (table[:, 2] == 1)).all())
    except (ValueError, OverflowError):
        good, table = False, np.empty((0, 3), np.int64)
    if good:
        return table
    for number, words in _lines(path):
        if len(words) != 3 or not all(word.isdigit() for word in words) or words[2] not in ("0", "1"):
            raise VultusError(
                f'{path}, line {number}: expected "template template label", label 0 or 1, '
                f"found {show([' '.join(words)])}"
            )
    raise VultusError(f"{path}: no pairs in it; expected lines of template template label")


def _read_scores(path: Path, images: tuple[str, ...]) -> np.ndarray:
    """(N,) the last number of the lines "image x1 y1 ... x5 y5 score", in the order of `images`."""
    found: dict[str, float] = {}
    for number, words in _lines(path):
        try:
            if len(words) != 12:
                raise ValueError
            value = [float(word) for word in words[1:]][-1]
        except ValueError:
            raise VultusError(
                f'{path}, line {number}: expected "image", ten coordinates and a score, found {show([" ".join(words)])}'
            ) from None
        if not 0 <= value < np.inf:
            raise VultusError(f"{path}, line {number}: the detector score {words[-1]} is no weight")
        if found.setdefault(words[0], value) != value:
            raise VultusError(f"{path}, line {number}: another score for {words[0]} than before")
    absent = [image for image in images if image not in found]
    if absent:
        raise VultusError(f"{path} lacks {len(absent):,} images, such as {absent[0]}; the files do not belong together")
    return np.array([found[image] for image in images])


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and words of the lines that are not empty."""
    for number, line in read_lines(path):
        if words := line.split():
            yield number, words


def check_counts(found: TemplateProtocol, published: Mapping[str, int]) -> None:
    """VultusError where a number of `published` (see `PUBLISHED`) is not that of the files."""
    counts = {
        "images": len(found.images),
        "templates": len(found.template_ids),
        "pairs": len(found.pairs),
        "mated": int(found.same.sum()),
    }
    for what, expected in published.items():
        if counts[what] != expected:
            what = "mated pairs" if what == "mated" else what
            raise VultusError(
                f"the published {found.name} has {expected:,} {what}, these files {counts[what.split()[0]]:,}; "
                "get them again, or give the files of another protocol another name"
            )


def _check_pairs(found: TemplateProtocol, path: Path) -> None:
    first, second = found.pairs.T
    if (alone := first == second).any():
        row = int(alone.argmax())
        raise VultusError(f"{path}, pair {row + 1} compares template {found.template_ids[first[row]]} with itself")
    key = pair_key(first, second, len(found.template_ids))
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(key[order][1:] == key[order][:-1])
    if len(twice):
        earlier, later = order[twice[0]], order[twice[0] + 1]
        raise VultusError(f"{path}: pair {later + 1} is pair {earlier + 1} again; every pair counts once")
