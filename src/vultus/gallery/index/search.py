"""The exact best persons: a quick scan with a bounded error, and float32 scores of every row that the bound leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vultus.gallery.index.part import MOST_CODED, Part
from vultus.gallery.index.ranking import Hit, Ranked, rank

WIDER = 4
"""By how much more is asked of a part whose best rows did not suffice."""


@dataclass(frozen=True, eq=False)
class Scanned:
    """What a scan of one part returned for one probe."""

    scores: np.ndarray
    places: np.ndarray
    floor: float


def search(
    parts: Sequence[Part], allowed: Sequence[np.ndarray | None], probes: np.ndarray, k: int, fusion: int
) -> list[list[Hit]]:
    """The k best persons for each probe (Q, D) among the allowed rows of each part; all are where it is None."""
    width = 16 + 40 * k // max(1, len(parts))
    scans = [part.scan(probes, width, mask) for part, mask in zip(parts, allowed, strict=True)]
    results = []
    for number, probe in enumerate(probes):
        found = [Scanned(scores[number], places[number], float(floors[number])) for scores, places, floors in scans]
        results.append(_settle(parts, allowed, probe, found, width, k, fusion).hits(k))
    return results


def _settle(
    parts: Sequence[Part],
    allowed: Sequence[np.ndarray | None],
    probe: np.ndarray,
    found: list[Scanned],
    width: int,
    k: int,
    fusion: int,
) -> Ranked:
    """Score rows in float32, and ask for more of them, until no other could change the k best persons."""
    while True:
        ranked = _rescore(parts, probe, found, k, fusion)
        least = ranked.least(k)
        short = [at for at, part in enumerate(parts) if found[at].floor >= least - part.slack]
        if not short:
            return ranked
        width *= WIDER
        for at in short:
            scores, places, floors = parts[at].scan(probe[None], min(width, MOST_CODED + 1), allowed[at])
            found[at] = Scanned(scores[0], places[0], float(floors[0]))


def _rescore(parts: Sequence[Part], probe: np.ndarray, found: list[Scanned], k: int, fusion: int) -> Ranked:
    """The best persons of the rows found, from exact scores of all rows that may belong to the k best."""
    most = [float(scan.scores.max(initial=-np.inf)) for scan in found]
    near = np.concatenate([scan.scores for scan in found]) if found else np.empty(0)
    first = 2 * k + 8
    bar = float(np.partition(near, -first)[-first]) if len(near) > first else -np.inf
    least = _exact(parts, probe, found, [bar] * len(parts), most, fusion).least(k)
    bars = [min(bar, least - part.slack) for part in parts]
    return _exact(parts, probe, found, bars, most, fusion)


def _exact(
    parts: Sequence[Part], probe: np.ndarray, found: list[Scanned], bars: list[float], most: list[float], fusion: int
) -> Ranked:
    """Persons by exact scores of the rows that the scan scored at least their part's bar."""
    chosen = []
    for part, scan, bar, best in zip(parts, found, bars, most, strict=True):
        if best >= bar and best > -np.inf:
            chosen.append((part, scan.places[(scan.scores >= bar) & (scan.scores > -np.inf)]))
    if fusion > 1:  # a person's mean is at most their best score: who is not among these does not come before them
        persons = np.unique(np.concatenate([part.person_ids[at] for part, at in chosen])) if chosen else np.empty(0)
        chosen = [(part, part.places_of(persons)) for part in parts]
    if not chosen:
        chosen = [(part, np.empty(0, np.intp)) for part in parts[:1]]
    if not chosen:
        return Ranked(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))
    return rank(
        np.concatenate([part.person_ids[at] for part, at in chosen]),
        np.concatenate([part.template_ids[at] for part, at in chosen]),
        np.concatenate([part.score(probe, at) for part, at in chosen]),
        fusion,
    )
