"""Error-versus-discard curves: what a quality score is worth (Grother and Tabassi, PAMI 29, 2007; ISO/IEC 29794-1).

The threshold stays where it is, the comparisons with the worst pictures are discarded, and the false non-match rate of
the others is read. A comparison is as good as the worse of its two pictures. A useful score makes the rate fall fast;
discarding at random leaves it where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.breakdown.cell import MatedCounts, finite
from vultus.evaluation.breakdown.outcomes import Outcomes
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.intervals import Rate, independent_rate, mated_rate, non_mated_rate

FRACTIONS = tuple(k / 100 for k in range(51))
"""Shares of the mated comparisons at which the curve is read."""

AREAS = (0.2, 0.3)
"""How far the partial area reaches: nobody discards more in practice (Schlett et al., ACM Computing Surveys 2023)."""


@dataclass(frozen=True)
class Area:
    """Area under FNMR over the discarded share, from 0 to `upto`, beside that of two other ways to discard."""

    upto: float
    value: float
    random: float
    """Of discarding blindly: FNMR stays."""
    ideal: float
    """Of discarding the false non-matches first."""

    @property
    def gain(self) -> float | None:
        """1 for the ideal order, 0 for a random one, below 0 for a harmful one; None without any error."""
        return (self.random - self.value) / (self.random - self.ideal) if self.random > self.ideal else None


@dataclass(frozen=True, eq=False)
class Discard:
    """One quality score's curve. Arrays of F points, one for each share that may be discarded at most."""

    name: str
    allowed: np.ndarray
    """(F,) share of the mated comparisons that may be discarded."""
    discarded: np.ndarray
    """(F,) share that is: pictures of one quality go together, so it may be less."""
    lowest: np.ndarray
    """(F,) lowest quality that is kept."""
    fnmr: tuple[Rate, ...]
    """Of what is kept."""
    fmr: tuple[Rate, ...]
    """Of the pictures that are kept, at the same threshold; empty where non-mated comparisons are not at hand."""
    ideal: np.ndarray
    """(F,) FNMR if the false non-matches were discarded first."""
    areas: tuple[Area, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for a `lowest` of minus infinity."""
        rates = {
            name: [{"errors": r.errors, "trials": r.trials, "interval": r.interval} for r in getattr(self, name)]
            for name in ("fnmr", "fmr")
        }
        plain = {name: getattr(self, name).tolist() for name in ("allowed", "discarded", "lowest", "ideal")}
        areas = [{**vars(a), "gain": a.gain} for a in self.areas]
        return finite({"name": self.name, **plain, **rates, "areas": areas})


def discard(
    rejected: np.ndarray,
    quality: np.ndarray,
    identity: np.ndarray | None = None,
    *,
    failures: np.ndarray | int = 0,
    name: str = "quality",
    fractions: Sequence[float] = FRACTIONS,
    areas: Sequence[float] = AREAS,
) -> Discard:
    """The curve of a list of mated comparisons.

    rejected (M,) bool: the false non-matches; quality (M,): of the worse picture, higher is better; identity (M,) codes
    0..G-1; failures: comparisons without a score because no face was found, (G,) by identity (or their number), which
    are false non-matches of the lowest quality. Unknown identities: intervals take comparisons as independent.
    Raises VultusError for NaN, other lengths, or nothing to compare.
    """
    rejected, quality = np.asarray(rejected, dtype=bool), np.asarray(quality, dtype=np.float64)
    if rejected.shape != quality.shape or rejected.ndim != 1:
        raise VultusError(f"{name}: {rejected.shape} decisions and {quality.shape} qualities do not belong together")
    if np.isnan(quality).any():
        where = int(np.isnan(quality).argmax())
        raise VultusError(f"{name} of comparison {where} is not a number; give every picture a quality, -inf the worst")
    lost = np.asarray(failures, dtype=np.int64)
    owner = np.zeros(len(rejected), np.int64) if identity is None else np.asarray(identity)
    if identity is not None and lost.ndim == 0:
        lost = np.zeros(int(owner.max(initial=0)) + 1, np.int64)
        if failures:
            raise VultusError(f"{name}: give the failures of each identity where the identities are known")
    total = len(rejected) + int(lost.sum())
    if total == 0:
        raise VultusError(f"{name}: no mated comparison to discard; add people with two images")
    added = int(lost.sum())
    order = np.argsort(quality, kind="stable")
    wrong = np.concatenate([np.ones(added, bool), rejected[order]])
    worth = np.concatenate([np.full(added, -np.inf), quality[order]])
    steps = np.flatnonzero(np.concatenate([[True], worth[1:] > worth[:-1]]))  # where a run of equal quality begins
    perfect = np.sort(wrong)[::-1]
    at = [_start(steps, share, total) for share in fractions]
    rates: dict[int, Rate] = {}
    for cut in dict.fromkeys(at):
        kept = order[max(0, cut - added) :]
        if identity is None:
            rates[cut] = independent_rate(int(wrong[cut:].sum()), total - cut)
            continue
        of_failures = lost if cut < added else np.zeros_like(lost)
        counts = np.bincount(owner[kept], minlength=len(lost)) + of_failures
        errors = np.bincount(owner[kept[rejected[kept]]], minlength=len(lost)) + of_failures
        rates[cut] = mated_rate(errors, MatedCounts(counts))
    every = np.arange(total)
    return Discard(
        name=name,
        allowed=np.asarray(fractions, dtype=np.float64),
        discarded=np.asarray(at) / total,
        lowest=worth[at],
        fnmr=tuple(rates[cut] for cut in at),
        fmr=(),
        ideal=np.array([perfect[_start(every, share, total) :].mean() for share in fractions]),
        areas=tuple(
            Area(upto, _area(wrong, steps, upto), float(wrong.mean()) * upto, _area(perfect, every, upto))
            for upto in areas
        ),
    )


def edc(
    outcomes: Outcomes,
    quality: np.ndarray,
    *,
    name: str = "quality",
    fractions: Sequence[float] = FRACTIONS,
    areas: Sequence[float] = AREAS,
) -> Discard:
    """The curve of a quality score of pictures, (N,), higher is better, with the FMR of the pictures kept beside it.

    Dropping pairs by their worse picture is dropping pictures, so FMR is read over all pairs of the pictures that are
    left where that share of the mated comparisons is discarded. Raises as `discard` does.
    """
    quality = np.asarray(quality, dtype=np.float64)
    if quality.shape != outcomes.identity.shape:
        raise VultusError(f"{name}: {quality.shape} qualities for {len(outcomes.identity)} pictures")
    if np.isnan(quality).any():
        where = int(np.isnan(quality).argmax())
        raise VultusError(f"{name} of picture {where} is not a number; give every picture a quality, -inf the worst")
    curve = discard(
        outcomes.rejected,
        quality[outcomes.mated].min(axis=1),
        outcomes.mated_identity,
        failures=outcomes.failures,
        name=name,
        fractions=fractions,
        areas=areas,
    )
    worse = quality[outcomes.false_matches].min(axis=1)
    rates: dict[float, Rate] = {}
    for lowest in dict.fromkeys(curve.lowest.tolist()):
        images = np.bincount(outcomes.identity[quality >= lowest], minlength=outcomes.identities)
        first, second = outcomes.identity[outcomes.false_matches[worse >= lowest]].T
        rates[lowest] = non_mated_rate(first, second, AllPairs(images))
    return Discard(**{**vars(curve), "fmr": tuple(rates[lowest] for lowest in curve.lowest.tolist())})


def _start(steps: np.ndarray, share: float, total: int) -> int:
    """How many of the worst comparisons go: the most that is at most `share` and splits no run of equal quality."""
    return int(steps[np.searchsorted(steps, share * total + 1e-9, side="right") - 1])


def _area(wrong: np.ndarray, steps: np.ndarray, upto: float) -> float:
    """Integral of the stepwise FNMR over the discarded share from 0 to `upto`."""
    total = len(wrong)
    starts = steps[steps <= upto * total]
    left = np.cumsum(wrong[::-1])[::-1][starts] / (total - starts)  # FNMR of what is left from each start on
    return float(left @ np.diff(np.append(starts / total, upto)))
