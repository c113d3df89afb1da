"""1:N identification: FPIR and FNIR of open-set searches, rank-k rates of the closed set.

The rates are those of ISO/IEC 19795-1 and of NIST's 1:N evaluations (FRTE). N people are enrolled, T is a threshold:

    FPIR(N, T)      share of non-mated searches that return at least one candidate at or above T
    FNIR(N, R, T)   share of mated searches whose person is not among the first R candidates at or above T
    TPIR            1 - FNIR
    rank-k rate     1 - FNIR(N, k, -inf): the closed set, without a threshold; over k it is the CMC

A mated probe in which no face was found is a false negative. A non-mated one is left out and counted: a face that was
not found is no correct rejection. A tie counts against the system: who scores the same as the mate stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals import Interval, Rate, is_supported, needed_comparisons
from vultus.evaluation.protocols.galleries import same_kind
from vultus.evaluation.protocols.search_rates import SearchRates
from vultus.evaluation.protocols.searches import Fuse, Searches, Split, searches
from vultus.evaluation.scores import check_embeddings

FPIRS = (1e-1, 1e-2, 1e-3)
RANKS = 50
"""The last rank of the CMC, where as many people are enrolled."""


@dataclass(frozen=True)
class IdentificationPoint:
    """FNIR at the smallest threshold whose FPIR is at most `fpir`; withheld where the data cannot support that.

    The rates are None where fpir x the non-mated searches of a gallery < 10; then `needs` says how many it takes.
    """

    gallery: int
    """People enrolled."""
    fpir: float
    """The rate asked for."""
    rank: int = 1
    threshold: float | None = None
    fpir_rate: Rate | None = None
    fnir: Rate | None = None
    """Its interval holds the threshold; its `bootstrap` draws other people and chooses the threshold anew."""
    fpir_spread: Interval | None = None
    fnir_spread: Interval | None = None
    """The lowest and the highest rate of a single gallery, at this one threshold."""
    misidentified: int | None = None
    """Mated searches in which somebody else is the best candidate, at or above the threshold."""
    needs: int | None = None

    @property
    def tpir(self) -> float | None:
        return None if self.fnir is None else 1 - self.fnir.value

    @property
    def tpir_interval(self) -> Interval | None:
        """95 %, as wide as the wider bound of two: the Wilson interval at this threshold and the bootstrap."""
        if self.fnir is None:
            return None
        low, high = self.fnir.interval
        if self.fnir.bootstrap is not None:
            low, high = min(low, self.fnir.bootstrap[0]), max(high, self.fnir.bootstrap[1])
        return 1 - high, 1 - low

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the derived ones too."""
        return {**asdict(self), "tpir": self.tpir, "tpir_interval": self.tpir_interval}


@dataclass(frozen=True, eq=False)
class Identification:
    """What the searches of galleries of one size gave, pooled over the galleries. Intervals are 95 %."""

    people: int
    templates: int
    """Of one gallery (the mean, where sampled galleries differ)."""
    galleries: int
    mated: int
    """Mated searches in all galleries, `mated_failures` included; so for `non_mated`."""
    mated_people: int
    mated_failures: int
    non_mated: int
    non_mated_people: int
    non_mated_failures: int
    """Photographs of strangers without a face, left out."""
    points: tuple[IdentificationPoint, ...]
    rank: int
    """R of FNIR in `points` and in the curve."""
    cmc: np.ndarray
    """(K,) rank-k rates of k = 1..K."""
    cmc_interval: np.ndarray
    """(K, 2), clustered by the probe's person."""
    curve_threshold: np.ndarray
    """(P,) ascending thresholds of the DET; the rates are exact at each."""
    curve_fpir: np.ndarray
    curve_fnir: np.ndarray
    curve_fnir_interval: np.ndarray
    """(P, 2), each at its threshold."""

    def point(self, fpir: float) -> IdentificationPoint:
        """The operating point measured for `fpir`; KeyError when it was not asked for."""
        for point in self.points:
            if point.fpir == fpir:
                return point
        raise KeyError(
            f"no operating point at FPIR {fpir:g}; there are {', '.join(f'{p.fpir:g}' for p in self.points)}"
        )

    @property
    def rank_one(self) -> float:
        return float(self.cmc[0])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["points"] = [point.to_dict() for point in self.points]
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}


def identify(
    enrolled: np.ndarray,
    enrolled_labels: np.ndarray,
    probes: np.ndarray,
    probe_labels: np.ndarray,
    *,
    fpirs: Sequence[float] = FPIRS,
    fuse: Fuse = "max",
    missing: np.ndarray | None = None,
    rank: int = 1,
    resamples: int = 1000,
    seed: int = 0,
) -> Identification:
    """The rates of one given gallery: enrolled (E, D) and probes (P, D) float32 unit rows with their labels.

    A probe whose label is enrolled is a mated search. missing (F,): labels of probes in which no face was found.
    """
    enrolled, enrolled_labels = check_embeddings(enrolled, enrolled_labels)
    if not len(enrolled):
        raise VultusError("the gallery is empty: enrol somebody")
    probes, probe_labels = check_embeddings(probes, probe_labels)
    if enrolled.shape[1] != probes.shape[1]:
        raise VultusError(f"a gallery of {enrolled.shape[1]} dimensions cannot be searched for {probes.shape[1]}")
    everybody = np.concatenate([enrolled_labels, probe_labels, same_kind(missing, enrolled_labels)])
    codes = np.unique(everybody, return_inverse=True)[1]
    owners, searched = codes[: len(enrolled)], codes[len(enrolled) : len(enrolled) + len(probes)]
    lost = codes[len(enrolled) + len(probes) :]
    known, lost_known = np.isin(searched, owners), np.isin(lost, owners)
    first = len(enrolled)
    split = Split(
        enrolled=np.arange(first),
        mated=first + np.flatnonzero(known),
        strangers=first + np.flatnonzero(~known),
        mated_missing=lost[lost_known],
        strangers_missing=int((~lost_known).sum()),
    )
    found = searches(np.concatenate([enrolled, probes]), codes[: first + len(probes)], split, fuse)
    return identification([found], fpirs, rank=rank, resamples=resamples, seed=seed)


def identification(
    galleries: Sequence[Searches],
    fpirs: Sequence[float] = FPIRS,
    *,
    rank: int = 1,
    resamples: int = 1000,
    seed: int = 0,
) -> Identification:
    """The figures of searches in equally large galleries. VultusError without mated or without non-mated searches."""
    if not galleries:
        raise VultusError("no gallery was searched: give at least one")
    if rank < 1:
        raise VultusError(f"rank {rank}: give 1 or more")
    for fpir in fpirs:
        if not 0 < fpir < 1:
            raise VultusError(f"a false positive identification rate lies between 0 and 1, not {fpir:g}")
    rates = SearchRates(galleries, rank)
    people = galleries[0].people
    if rates.mated == 0:
        raise VultusError(
            f"no probe shows one of the {people:,} enrolled people: nothing shows that a person is found again; "
            "search more images, or enrol more people"
        )
    if rates.non_mated == 0:
        raise VultusError("every probe shows an enrolled person: nobody is left as a stranger; enrol fewer people")
    closed = [rates.rank_rate(k) for k in range(1, min(RANKS, people) + 1)]
    thresholds = _curve_thresholds(rates)
    fnir = [rates.fnir(float(t)) for t in thresholds]
    passed = rates.non_mated - np.searchsorted(rates.best_ascending, thresholds, side="left")
    return Identification(
        people=people,
        templates=round(sum(g.templates for g in galleries) / len(galleries)),
        galleries=len(galleries),
        mated=rates.mated,
        mated_people=len(np.unique(rates.mated_identity)),
        mated_failures=sum(g.failures for g in galleries),
        non_mated=rates.non_mated,
        non_mated_people=len(np.unique(rates.stranger)),
        non_mated_failures=sum(g.strangers_without_face for g in galleries),
        points=_points(rates, fpirs, resamples, seed),
        rank=rank,
        cmc=np.array([rate.value for rate in closed]),
        cmc_interval=np.array([rate.interval for rate in closed]),
        curve_threshold=thresholds,
        curve_fpir=passed / rates.non_mated,
        curve_fnir=np.array([rate.value for rate in fnir]),
        curve_fnir_interval=np.array([rate.interval for rate in fnir]),
    )


def _points(rates: SearchRates, fpirs: Sequence[float], resamples: int, seed: int) -> tuple[IdentificationPoint, ...]:
    people = rates.galleries[0].people
    fewest = min(len(gallery.best) for gallery in rates.galleries)
    supported = [fpir for fpir in fpirs if is_supported(fpir, fewest)]
    drawn = dict(zip(supported, rates.fnir_at_fpir(supported, resamples, seed), strict=True))
    points = []
    for fpir in fpirs:
        if fpir not in drawn:
            points.append(IdentificationPoint(people, fpir, rates.rank, needs=needed_comparisons(fpir)))
            continue
        threshold = rates.threshold(fpir)
        missed = rates.fnir(threshold)
        points.append(
            IdentificationPoint(
                gallery=people,
                fpir=fpir,
                rank=rates.rank,
                threshold=threshold,
                fpir_rate=rates.fpir(threshold),
                fnir=Rate(missed.errors, missed.trials, missed.interval, missed.effective, drawn[fpir]),
                fpir_spread=rates.fpir_spread(threshold),
                fnir_spread=rates.fnir_spread(threshold),
                misidentified=rates.misidentified(threshold),
            )
        )
    return tuple(points)


def _curve_thresholds(rates: SearchRates, per_decade: int = 20) -> np.ndarray:
    """Scores of non-mated searches, ascending float32: evenly spaced on the log axis of FPIR."""
    count = rates.non_mated
    spread = np.geomspace(1, count, 2 + int(per_decade * np.log10(count)))
    return np.unique(rates.best_ascending[-np.unique(spread.astype(np.int64))])
