"""Open-set identification in galleries of growing size, sampled from an ordinary dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.protocols.galleries import Draw, check_sizes, coded, gallery_sizes, nested_galleries
from vultus.evaluation.protocols.identification import FPIRS, Identification, IdentificationPoint, identification
from vultus.evaluation.protocols.searches import Fuse, Searches, searches


@dataclass(frozen=True, eq=False)
class OpenSet:
    """Identification at growing gallery sizes, the galleries sampled from one dataset."""

    images: int
    identities: int
    draw: Draw
    fuse: Fuse
    seed: int
    sizes: tuple[Identification, ...]

    @property
    def points(self) -> tuple[IdentificationPoint, ...]:
        """The operating points of every size: what `profiles.judge` reads."""
        return tuple(point for size in self.sizes for point in size.points)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "images": self.images,
            "identities": self.identities,
            "draw": asdict(self.draw),
            "fuse": self.fuse,
            "seed": self.seed,
            "sizes": [size.to_dict() for size in self.sizes],
        }


def open_set(
    embeddings: np.ndarray,
    labels: np.ndarray,
    people: Sequence[int] | None = None,
    *,
    fpirs: Sequence[float] = FPIRS,
    galleries: int = 10,
    draw: Draw | None = None,
    fuse: Fuse = "max",
    missing: np.ndarray | None = None,
    rank: int = 1,
    resamples: int = 1000,
    seed: int = 0,
) -> OpenSet:
    """Open-set identification in galleries sampled from embeddings (N, D) float32 unit rows and labels (N,).

    people      gallery sizes; by default 50, 100, 200, 500, ... up to half of those who can be enrolled
    galleries   how many are sampled of each size; their searches are pooled, and their spread is reported
    draw        how many images are enrolled and searched (`Draw`); by default one enrolled, ten others searched
    missing     (F,) labels of photographs in which no face was found
    resamples   of the people, for the interval that chooses the threshold anew; 0: none

    The same strangers search every size of a gallery. Raises VultusError for bad embeddings or impossible galleries.
    """
    embeddings, codes, lost, images = coded(embeddings, labels, missing)
    draw = draw or Draw()
    without = np.bincount(lost, minlength=len(images))
    sizes = check_sizes(images, without, people or gallery_sizes(images, draw), draw)
    if galleries < 1:
        raise VultusError(f"{galleries} galleries: sample at least one")
    rng = np.random.default_rng(seed)
    found: list[list[Searches]] = [[] for _ in sizes]
    for _ in range(galleries):
        for place, split in enumerate(nested_galleries(codes, lost, sizes, draw, rng)):
            found[place].append(searches(embeddings, codes, split, fuse))
    measured = tuple(identification(each, fpirs, rank=rank, resamples=resamples, seed=seed) for each in found)
    return OpenSet(len(codes), len(images), draw, fuse, seed, measured)
