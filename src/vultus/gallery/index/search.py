"""The exact best persons: a quick scan with a bounded error, and float32 scores of every row that the bound leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vultus.gallery.index.part import MOST_CODED, Part
from vultus.gallery.index.ranking import Hit, Ranked, Scored, rank

WIDER = 4
"""By how much more is asked of a part whose best rows did not suffice."""
GROWTH = 8
"""By which part of the width the next searches ask for more, where it did not do for most probes."""
SCORES_AT_ONCE = 1 << 23
"""Bound on probes x rows that are held at once after a scan."""

Mask = np.ndarray | None


@dataclass(frozen=True, eq=False)
class Scan:
    """What one part's scan returned for some probes: see `Codes.scan`."""

    scores: np.ndarray
    places: np.ndarray
    floors: np.ndarray


def search(
    parts: Sequence[Part], allowed: Sequence[Mask], probes: np.ndarray, k: int, fusion: int, width: int
) -> tuple[list[list[Hit]], int]:
    """The k best persons for each probe (Q, D) among the allowed rows of each part; all are where it is None.

    `width`: how many rows to ask of each part first. Also returned: how many would have done for most probes.
    """
    if not parts:
        return [[] for _ in probes], width
    slacks = np.array([part.slack for part in parts])
    scans = [Scan(*part.scan(probes, width, mask)) for part, mask in zip(parts, allowed, strict=True)]
    ranked, needed = _rescored(parts, scans, slacks, probes, k, fusion)
    short = _short(scans, slacks, ranked, k)
    results = [ranked.hits(probe, k) for probe in range(len(probes))]
    again = np.flatnonzero(short.any(1))
    if len(again) * 10 > len(probes):
        needed = min(width + width // GROWTH + 1, MOST_CODED)
    share = max(1, SCORES_AT_ONCE // (width * WIDER * len(parts)))
    for at in range(0, len(again), share):
        pending = again[at : at + share]
        settled = _wider(parts, allowed, scans, short, slacks, probes, pending, k, fusion, width)
        for probe, hits in zip(pending, settled, strict=True):
            results[probe] = hits
    return results, needed


def _wider(
    parts: Sequence[Part],
    allowed: Sequence[Mask],
    scans: Sequence[Scan],
    short: np.ndarray,
    slacks: np.ndarray,
    probes: np.ndarray,
    pending: np.ndarray,
    k: int,
    fusion: int,
    width: int,
) -> list[list[Hit]]:
    """Search on for the pending probes: ask for more in the parts that may hold more, until none may."""
    while True:
        width *= WIDER
        scans = [
            Scan(*parts[at].scan(probes[pending], width, allowed[at]))
            if short[pending, at].any()
            else Scan(scan.scores[pending], scan.places[pending], scan.floors[pending])
            for at, scan in enumerate(scans)
        ]
        probes, pending = probes[pending], np.arange(len(pending))
        ranked, _ = _rescored(parts, scans, slacks, probes, k, fusion)
        short = _short(scans, slacks, ranked, k)
        if not short.any():
            return [ranked.hits(probe, k) for probe in pending]


def _short(scans: Sequence[Scan], slacks: np.ndarray, ranked: Ranked, k: int) -> np.ndarray:
    """(Q, parts) bool: whether what a scan left out may hold one of the k best; what it saw whole left out nothing."""
    floors = np.stack([scan.floors for scan in scans], 1)
    return (floors >= ranked.least(k)[:, None] - slacks) & (floors > -np.inf)


def _rescored(
    parts: Sequence[Part], scans: Sequence[Scan], slacks: np.ndarray, probes: np.ndarray, k: int, fusion: int
) -> tuple[Ranked, int]:
    """The best persons by exact scores of all rows of the scans that may belong to the k best."""
    near = np.concatenate([scan.scores for scan in scans], 1)
    places = np.concatenate([scan.places for scan in scans], 1)
    ends = np.cumsum([scan.scores.shape[1] for scan in scans])
    first = 2 * k + 8
    bar = np.partition(near, -first, 1)[:, -first, None] if near.shape[1] > first else -np.inf
    chosen = (near >= bar) & (near > -np.inf)
    scored = _exact(parts, ends, chosen, places, probes, fusion)
    least = rank(scored, len(probes), fusion).least(k)
    offs = np.repeat(slacks, [scan.scores.shape[1] for scan in scans])
    wanted = (near >= least[:, None] - offs) & (near > -np.inf)
    if fusion == 1:
        scored += _exact(parts, ends, wanted & ~chosen, places, probes, fusion)
    else:
        scored = _exact(parts, ends, wanted | chosen, places, probes, fusion)
    return rank(scored, len(probes), fusion), _most_of_a_part(wanted, ends)


def _exact(
    parts: Sequence[Part], ends: np.ndarray, chosen: np.ndarray, places: np.ndarray, probes: np.ndarray, fusion: int
) -> Scored:
    """Exact scores of the chosen rows; with `fusion` > 1 of all templates of the persons that have one among them.

    A person's mean is at most their best score, so nobody else comes before these.
    """
    columns, numbers = np.nonzero(chosen.T)  # by column, so by part
    cuts = np.searchsorted(columns, np.concatenate([[0], ends]))
    rows = places[numbers, columns]
    taken = [(part, numbers[a:b], rows[a:b]) for part, a, b in zip(parts, cuts[:-1], cuts[1:], strict=True) if b > a]
    if fusion > 1 and taken:
        persons = np.concatenate([np.stack([probe, part.person_ids[at]], 1) for part, probe, at in taken])
        owner, person = np.unique(persons, axis=0).T
        found = [(part, *part.places_of(person)) for part in parts]
        taken = [(part, owner[which], at) for part, at, which in found if len(at)]
    return Scored(
        np.concatenate([np.empty(0, np.intp), *(probe for _, probe, _ in taken)]),
        np.concatenate([np.empty(0, np.int64), *(part.person_ids[at] for part, _, at in taken)]),
        np.concatenate([np.empty(0, np.int64), *(part.template_ids[at] for part, _, at in taken)]),
        np.concatenate([np.empty(0, np.float32), *(part.score(at, probes, probe) for part, probe, at in taken)]),
    )


def _most_of_a_part(wanted: np.ndarray, ends: np.ndarray) -> int:
    """Rows that were needed of the part that had most of them, for nine of ten probes."""
    starts = np.concatenate([[0], ends[:-1]])
    counts = np.sort(np.add.reduceat(wanted, starts, 1, dtype=np.intp).max(1))
    return min(int(counts[len(counts) * 9 // 10]) + 1, MOST_CODED)
