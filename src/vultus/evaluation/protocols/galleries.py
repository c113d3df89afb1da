"""Galleries drawn from an ordinary dataset: who is enrolled, who is searched, who is a stranger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.protocols.searches import Split
from vultus.evaluation.scores import check_embeddings

Choose = Literal["sampled", "first"]

SMALLEST = 50
"""The smallest gallery of the default series, if the data has that many people."""


@dataclass(frozen=True)
class Draw:
    """How galleries are drawn. At most ten probes a person, so that a few much photographed people do not decide all.

    enrol            images enrolled of each person
    choose           which ones: `sampled` anew in each gallery, or the `first` in the order of the dataset
    mated_each       at most so many probes of an enrolled person, those without a face among them, drawn at random;
                     None: all of the other images
    strangers_each   at most so many probes of a person who is not enrolled; None: all images. Photographs of strangers
                     without a face are no searches: they are counted beside them, all of them
    """

    enrol: int = 1
    choose: Choose = "sampled"
    mated_each: int | None = 10
    strangers_each: int | None = 10

    def __post_init__(self) -> None:
        for name in ("enrol", "mated_each", "strangers_each"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise VultusError(f"{name} is {value}: give 1 or more")
        if self.choose not in ("sampled", "first"):
            raise VultusError(f"choose is {self.choose!r}: give 'sampled' or 'first'")


def coded(
    embeddings: np.ndarray, labels: np.ndarray, missing: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(embeddings, codes (N,), codes (F,) of the missing ones, images (G,)): identities as 0..G-1, all checked."""
    embeddings, labels = check_embeddings(embeddings, labels)
    everybody = np.concatenate([labels, same_kind(missing, labels)])
    people, codes = np.unique(everybody, return_inverse=True)
    images = np.bincount(codes[: len(labels)], minlength=len(people))
    return embeddings, codes[: len(labels)], codes[len(labels) :], images


def same_kind(missing: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
    """(F,) labels of photographs without a face; VultusError where they are no labels of the kind of `labels`."""
    if missing is None or len(missing) == 0:
        return np.empty(0, labels.dtype)
    without = np.asarray(missing)
    if without.ndim != 1 or without.dtype.kind.replace("u", "i") != labels.dtype.kind.replace("u", "i"):
        raise VultusError(f"missing holds {without.dtype} of shape {without.shape}: give labels (F,), as of the images")
    return without


def gallery_sizes(images: np.ndarray, draw: Draw) -> tuple[int, ...]:
    """50, 100, 200, 500, ... people, up to half of those with enough images: galleries differ, and strangers remain.

    images (G,): how many each identity has. With fewer than 100 people: one gallery of half of them.
    """
    most = int((images >= draw.enrol).sum()) // 2
    series = [step * 10**power for power in range(1, 9) for step in (1, 2, 5)]
    return tuple(size for size in series if SMALLEST <= size <= most) or (max(1, most),)


def check_sizes(
    images: np.ndarray, missing: np.ndarray, sizes: Sequence[int], draw: Draw, *, need_mated: bool = True
) -> tuple[int, ...]:
    """The sizes ascending; VultusError where the data has no such galleries, no stranger or no mated probe.

    images, missing (G,): photographs of each identity with and without a face.
    """
    people, able = len(images), int((images >= draw.enrol).sum())
    if people < 2:
        raise VultusError(f"{people} identity: there is nobody to tell apart; give images of at least two people")
    if not sizes or min(sizes) < 1:
        raise VultusError(f"gallery sizes {list(sizes)}: give numbers of people, each at least 1")
    if able == 0:
        raise VultusError(f"no identity has {draw.enrol} images to enrol: enrol fewer")
    if need_mated and not ((images >= draw.enrol) & (images + missing > draw.enrol)).any():
        raise VultusError(
            f"no identity has an image beside the {draw.enrol} enrolled: nothing shows that a person is found again; "
            "add images or enrol fewer"
        )
    if max(sizes) > able:
        raise VultusError(f"a gallery of {max(sizes):,} people needs as many with {draw.enrol} images: {able:,} have")
    if max(sizes) >= people:
        raise VultusError(
            f"a gallery of {max(sizes):,} of {people:,} people leaves no stranger: enrol at most {people - 1:,}"
        )
    return tuple(sorted(set(sizes)))


def nested_galleries(
    codes: np.ndarray, missing: np.ndarray, sizes: Sequence[int], draw: Draw, rng: np.random.Generator
) -> Iterator[Split]:
    """A gallery of each of the ascending `sizes`, each holding the people of the one before it.

    People who are in the largest gallery are never strangers, so the same strangers search every size and only the
    gallery differs. codes (N,) and missing (F,): identity codes 0..G-1 of the photographs with and without a face.
    Everyone with enough images is equally likely to be enrolled, also who has no image left to be searched.
    """
    images = np.bincount(codes, minlength=1 + int(max(codes.max(), missing.max(initial=0))))
    drawn = rng.permutation(np.flatnonzero(images >= draw.enrol))
    place = np.full(len(images), len(drawn))  # of each identity in the order of enrolment
    place[drawn[: max(sizes)]] = np.arange(max(sizes))
    shuffled = rng.permutation(len(codes)) if draw.choose == "sampled" else np.arange(len(codes))
    rows = shuffled[np.argsort(codes[shuffled], kind="stable")]
    turn = np.empty(len(codes), np.int64)  # of each image among those of its identity
    turn[rows] = np.arange(len(codes)) - (np.cumsum(images) - images)[codes[rows]]
    stranger = place >= max(sizes)
    probed = turn < (draw.strangers_each or len(codes))
    strangers = np.flatnonzero(stranger[codes] & probed)
    others = np.flatnonzero((turn >= draw.enrol) & (place[codes] < max(sizes)))
    lost = np.flatnonzero(place[missing] < max(sizes))
    if draw.mated_each is not None:
        # Photographs with and without a face share the limit: a limit on one kind alone would change the share of lost.
        kept = at_most(np.concatenate([codes[others], missing[lost]]), draw.mated_each, rng)
        others, lost = others[kept[: len(others)]], lost[kept[len(others) :]]
    for size in sizes:
        inside = place[codes] < size
        yield Split(
            enrolled=np.flatnonzero(inside & (turn < draw.enrol)),
            mated=others[inside[others]],
            strangers=strangers,
            mated_missing=missing[lost[place[missing[lost]] < size]],
            strangers_missing=int(stranger[missing].sum()),
        )


def at_most(codes: np.ndarray, each: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) bool: at most `each` of every identity in `codes` (N,), any as likely as the others."""
    drawn = rng.permutation(len(codes))
    rows = drawn[np.argsort(codes[drawn], kind="stable")]
    kept = np.empty(len(codes), bool)
    kept[rows] = np.arange(len(codes)) - np.searchsorted(codes[rows], codes[rows]) < each
    return kept
