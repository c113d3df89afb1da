"""Templates out of the embeddings of their images, and the scores of pairs of templates.

The pooling modes of IJB-B and IJB-C are named as InsightFace's evaluation names them (the paper: Deng et al., ArcFace,
CVPR 2019, section 3.2; Maze et al. 2018 for media):

    N0 / N1  embeddings of unit length / as long as the network gives them: the length then weighs the image
    D0 / D1  ... times the score of the face detector
    F0 / F1  of the image / the sum of the embeddings of the image and of its mirror image

In this order: flip sum, unit length, detector score; then the mean over the frames of a media, the sum over the media
of a template, and unit length. A published figure means little without its mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.scores import lengths_of, off_unit

BLOCK = 2**10
"""Pairs scored at once: 4 MiB of gathered rows of 512 numbers, which stay in the cache (2 to 3 times as fast as 64)."""


class Pooling(NamedTuple):
    """A pooling mode."""

    norm: bool
    detector: bool
    flip: bool

    @classmethod
    def parse(cls, mode: str) -> Pooling:
        """Of "N0D1F0" and the like. Raises VultusError."""
        if not (match := re.fullmatch("N([01])D([01])F([01])", mode.upper())):
            raise VultusError(f"{mode!r} is no pooling mode; write N0 or N1, D0 or D1, F0 or F1, such as N0D1F1")
        return cls(*(digit == "1" for digit in match.groups()))

    def __str__(self) -> str:
        return f"N{self.norm:d}D{self.detector:d}F{self.flip:d}"


@dataclass(frozen=True, eq=False)
class Templates:
    """T pooled templates."""

    ids: np.ndarray
    """(T,) ascending."""
    rows: np.ndarray
    """(T, D) float32 of unit length."""
    images: np.ndarray
    """(T,) int64: how many images each was made of."""
    media: np.ndarray
    """(T,) int64: of how many media."""
    mode: str
    """Such as "N1D1F0"."""


def pool_templates(
    embeddings: np.ndarray,
    template_ids: np.ndarray,
    media_ids: np.ndarray,
    *,
    normalise: bool,
    detector_scores: np.ndarray | None = None,
    flipped: np.ndarray | None = None,
) -> Templates:
    """Pool (N, D) embeddings into one unit row a template; template_ids, media_ids (N,) integers.

    normalise: N0; otherwise N1, which needs the embeddings as the network gives them. detector_scores (N,) not
    negative: D1. flipped (N, D), embeddings of the mirror images: F1. One media number in two templates is two media.
    Memory beyond input and result: the images of one template in float64.
    Raises VultusError for NaN, a zero embedding, unit rows with N1, or a template whose images cancel out.
    """
    embeddings, template_ids, media_ids = np.asarray(embeddings), np.asarray(template_ids), np.asarray(media_ids)
    for name, given in (("template_ids", template_ids), ("media_ids", media_ids), ("detector_scores", detector_scores)):
        if given is not None and np.shape(given) != (len(embeddings),):
            raise ValueError(f"{name} must be ({len(embeddings)},), one an embedding")
    if embeddings.ndim != 2 or (flipped is not None and np.shape(flipped) != embeddings.shape):
        raise ValueError("embeddings and flipped must be (N, D)")
    if not len(embeddings):
        raise VultusError("no embeddings to pool: no image of the protocol has a face")
    order = np.lexsort((media_ids, template_ids))
    ids, starts = np.unique(template_ids[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    rows = np.empty((len(ids), embeddings.shape[1]), np.float32)
    media = np.empty(len(ids), np.int64)
    raw = False
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        images = order[start:end]
        sums = embeddings[images].astype(np.float64)
        if flipped is not None:
            sums += flipped[images]
        lengths = np.linalg.norm(sums, axis=1)
        if not np.isfinite(lengths).all() or (lengths < 1e-12).any():
            bad = images[np.argmax(~np.isfinite(lengths) | (lengths < 1e-12))]
            raise VultusError(
                f"embedding {bad} of template {ids[place]} is no direction (NaN or zero): look at its crop"
            )
        raw = raw or bool(off_unit(lengths_of(embeddings[images])).any())
        if normalise:
            sums /= lengths[:, None]
        if detector_scores is not None:
            sums *= np.asarray(detector_scores)[images, None]
        firsts = np.flatnonzero(np.diff(media_ids[images], prepend=media_ids[images[0]] - 1))
        frames = np.diff(np.append(firsts, len(images)))
        media[place] = len(firsts)
        total = (np.add.reduceat(sums, firsts) / frames[:, None]).sum(axis=0)
        length = np.linalg.norm(total)
        if not length > 1e-12:
            raise VultusError(f"the images of template {ids[place]} cancel out or weigh nothing: it has no direction")
        rows[place] = total / length
    if not normalise and not raw:
        raise VultusError(
            "pooling N1 weighs images by the length of their embeddings, but all of these have length 1; "
            "use N0, or a recogniser that gives embeddings as its network does"
        )
    return Templates(
        ids, rows, ends - starts, media, str(Pooling(not normalise, detector_scores is not None, flipped is not None))
    )


def score_templates(templates: Templates, first: np.ndarray, second: np.ndarray, *, block: int = BLOCK) -> np.ndarray:
    """(P,) float32 cosines in [-1, 1] of the templates with the ids first (P,) and second (P,).

    -inf where one of them is not among `templates`: none of its images had a face.
    """
    scores = np.full(len(first), -np.inf, np.float32)
    for start in range(0, len(first), block):
        left, right = (_places(templates.ids, ids[start : start + block]) for ids in (first, second))
        there = (left >= 0) & (right >= 0)
        found = np.einsum("nd,nd->n", templates.rows[left[there]], templates.rows[right[there]])
        scores[start : start + block][there] = np.clip(found, -1, 1)
    return scores


def _places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Place of each wanted id in the ascending `ids`, -1 where it is not there."""
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1)
