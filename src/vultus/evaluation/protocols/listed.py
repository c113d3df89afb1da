"""Scores of a list of comparisons, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.evaluation.protocols.verification import FARS, Verification, verify
from vultus.evaluation.scores import PairScores, explicit_scores


def verify_list(
    scores: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray | None = None,
    fars: Sequence[float] = FARS,
    *,
    images: int = 0,
    bootstrap: int = 0,
    unsupported: bool = False,
) -> Verification:
    """The figures of P comparisons: scores (P,) float, higher is more alike; same (P,) bool; identities (P, 2) codes.

    -inf marks a comparison with an image or template that is not there: mated, it is a false non-match; non-mated, it
    counts nowhere, since nobody was rejected. With identities, intervals respect shared people.
    Raises VultusError for NaN, and where no mated or no non-mated comparison is left.
    """
    found = listed_scores(scores, same, identities)
    people = 0 if identities is None else len(np.unique(identities))
    return verify(found, fars, images=images, identities=people, bootstrap=bootstrap, unsupported=unsupported)


def listed_scores(scores: np.ndarray, same: np.ndarray, identities: np.ndarray | None = None) -> PairScores:
    """`PairScores` of listed comparisons; see `verify_list`. The codes in `identities` are those of its fields."""
    scores, same = np.asarray(scores, np.float32), np.asarray(same, bool)
    if scores.ndim != 1 or same.shape != scores.shape:
        raise ValueError(f"scores {scores.shape} and same {same.shape} must be (P,)")
    if identities is None:
        return explicit_scores(scores[same], scores[~same])
    identities = np.asarray(identities)
    if identities.shape != (len(scores), 2) or ((identities[:, 0] == identities[:, 1]) != same).any():
        raise ValueError("identities must be (P, 2) codes, equal in a row exactly where `same` is true")
    return explicit_scores(
        scores[same],
        scores[~same],
        mated_identity=identities[same, 0],
        non_mated_identities=identities[~same],
    )


def joined(items: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(items,) int64: the group of each item 0..items-1 when first[k] and second[k] are of one group; from 0.

    Whom a list calls one person, directly or over others, is one person: connected components, by the smallest index
    that spreads along the edges.
    """
    group = np.arange(items)
    while True:
        lowest = np.minimum(group[first], group[second])
        following = group.copy()
        for end in (first, second):
            np.minimum.at(following, group[end], lowest)
            np.minimum.at(following, end, lowest)
        following = following[following]
        if np.array_equal(following, group):
            return np.unique(group, return_inverse=True)[1].astype(np.int64)
        group = following
