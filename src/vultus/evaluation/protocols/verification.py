"""1:1 verification: how often strangers pass and the same person does not, at each threshold.

A comparison matches when score >= threshold. FAR(T) = non-mated scores >= T / non-mated comparisons (FMR of ISO/IEC
19795-1), TAR(T) = mated scores >= T / mated comparisons, failures to find a face included among the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals import (
    IdentityBootstrap,
    Interval,
    Rate,
    allowed_errors,
    fnmr_at_far,
    is_supported,
    needed_for,
)
from vultus.evaluation.protocols.curves import area, curve, equal_error, histograms, tar_band
from vultus.evaluation.protocols.rates import fmr_at, fnmr_at
from vultus.evaluation.scores import TAIL, PairScores, ScoredPair, all_pairs, explicit_scores

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold and its rates; every measured field is None, and `needs` a count, where the data is too small."""

    far: float
    """The FAR asked for."""
    threshold: float | None = None
    """The smallest threshold whose FAR on this data does not exceed `far`."""
    fmr: Rate | None = None
    """Non-mated comparisons at or above the threshold: the FAR as measured."""
    fnmr: Rate | None = None
    """Mated comparisons below the threshold; TAR = 1 - FNMR."""
    fnmr_at_far: Rate | None = None
    """The same where other people would have set another threshold: `fnmr_at_far`; None unless resamples were made."""
    needs: int | None = None
    """How many non-mated comparisons `far` would need: ceil(10 / far)."""
    needs_identities: int | None = None
    """About how many identities that is, with as many images each as here."""
    unsupported: OperatingPoint | None = None
    """What the field prints nevertheless, where it was asked for: to be compared with papers, not to be relied on."""

    @property
    def false_matches(self) -> int | None:
        return None if self.fmr is None else self.fmr.errors

    @property
    def far_measured(self) -> float | None:
        return None if self.fmr is None else self.fmr.value

    @property
    def far_interval(self) -> Interval | None:
        return None if self.fmr is None else self.fmr.interval

    @property
    def tar(self) -> float | None:
        return None if self.fnmr is None else 1 - self.fnmr.value

    @property
    def tar_interval(self) -> Interval | None:
        """95 %, Wilson's over people; the threshold moves too where resamples were made, else it is held."""
        return _complement((self.fnmr_at_far or self.fnmr).interval) if self.fnmr else None

    @property
    def tar_bootstrap(self) -> Interval | None:
        """95 % percentiles of the resampled identities, the threshold chosen anew in each."""
        return _complement(self.fnmr_at_far.bootstrap) if self.fnmr_at_far and self.fnmr_at_far.bootstrap else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the derived ones too."""
        derived = ("false_matches", "far_measured", "far_interval", "tar", "tar_interval", "tar_bootstrap")
        plain = {**asdict(self), **{name: getattr(self, name) for name in derived}}
        del plain["unsupported"]
        return plain if self.unsupported is None else {**plain, "unsupported": self.unsupported.to_dict()}


@dataclass(frozen=True, eq=False)
class Verification:
    """Figures of one set of comparisons. Intervals are 95 %, and respect shared identities where those are known."""

    images: int
    identities: int
    mated: int
    """Mated comparisons, `mated_failures` included."""
    non_mated: int
    mated_failures: int
    auc: float
    """P(a mated score is above a non-mated one), ties count half."""
    auc_error: float
    """Bound of the AUC's error: 0 when all non-mated scores were kept, else what ties inside bins of 2^-16 can hide."""
    eer: float
    """Mean of FAR and FNMR at the threshold where they are closest."""
    eer_threshold: float
    points: tuple[OperatingPoint, ...]
    histogram_edges: np.ndarray
    """(B + 1,) ascending; bins of equal width for a picture."""
    histogram_mated: np.ndarray
    histogram_non_mated: np.ndarray
    curve_threshold: np.ndarray
    """(P,) ascending thresholds of the ROC and DET; curve_far and curve_tar are exact at each of them."""
    curve_far: np.ndarray
    curve_tar: np.ndarray
    curve_tar_interval: np.ndarray
    """(P, 2) 95 % intervals of curve_tar, each at its threshold."""
    by_identity: bool = False
    """Whether intervals respect shared identities; False where these are unknown: then they are too narrow."""
    hardest_mated: tuple[ScoredPair, ...] = ()
    hardest_non_mated: tuple[ScoredPair, ...] = ()

    @property
    def lets_thresholds_move(self) -> bool:
        """Whether the interval of every TAR allows for other people having set another threshold."""
        told = [point for point in self.points if point.tar is not None]
        return bool(told) and all(point.fnmr_at_far is not None for point in told)

    def point(self, far: float) -> OperatingPoint:
        """The operating point measured for `far`; KeyError when it was not asked for."""
        for point in self.points:
            if point.far == far:
                return point
        raise KeyError(f"no operating point at FAR {far:g}; there are {', '.join(f'{p.far:g}' for p in self.points)}")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["points"] = [point.to_dict() for point in self.points]
        for name in ("hardest_mated", "hardest_non_mated"):
            plain[name] = [pair._asdict() for pair in plain[name]]
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}


def verify_all_pairs(
    embeddings: np.ndarray,
    labels: np.ndarray,
    fars: Sequence[float] = FARS,
    *,
    mated_failures: int | np.ndarray = 0,
    tail: int = TAIL,
    bootstrap: int = 0,
    device: str | None = None,
) -> Verification:
    """Compare every image with every other one: embeddings (N, D) float32 unit rows, labels (N,) integers.

    Exact for the thresholds that let at most `tail` (a million) false matches through and for their TAR; a FAR
    beyond that gets the next bin edge above (at most 2^-16 higher), whose FAR and TAR are again exact.
    `mated_failures`: mated comparisons lost because no face was found, (G,) by identity or in all; they count as false
    non-matches. `bootstrap`: resamples of the identities, for intervals of TAR that let the threshold
    move. `device`: as `all_pairs` has it; more images than memory holds go through `all_pairs` with a checkpoint.
    Raises VultusError for bad embeddings, a single identity, or no identity with two images.
    """
    scores = all_pairs(embeddings, labels, mated_failures=mated_failures, tail=tail, device=device)
    return verify(scores, fars, images=len(labels), identities=len(np.unique(labels)), bootstrap=bootstrap)


def verify_scores(
    mated: np.ndarray,
    non_mated: np.ndarray,
    fars: Sequence[float] = FARS,
    *,
    mated_failures: int = 0,
    images: int = 0,
    identities: int = 0,
) -> Verification:
    """The same figures from mated (M,) and non-mated (K,) scores, higher is more alike; -inf marks a failure.

    See `scores.explicit_scores`. Everything is exact. The hardest pairs stay empty: there are no indices.
    """
    scores = explicit_scores(mated, non_mated, mated_failures=mated_failures)
    return verify(scores, fars, images=images, identities=identities)


def operating_point(
    scores: PairScores, far: float, drawn: IdentityBootstrap | None = None, unsupported: bool = False
) -> OperatingPoint:
    """Threshold and rates at `far`, withheld (or `unsupported`) where far x non-mated comparisons < 10."""
    if not 0 < far <= 1:
        raise ValueError(f"a false accept rate lies in (0, 1], not {far}")
    if not is_supported(far, scores.non_mated):
        needed = needed_for(far, scores.comparisons)
        shown = _measured_point(scores, far, drawn) if unsupported else None
        return OperatingPoint(far, needs=needed.comparisons, needs_identities=needed.identities, unsupported=shown)
    return _measured_point(scores, far, drawn)


def _measured_point(scores: PairScores, far: float, drawn: IdentityBootstrap | None) -> OperatingPoint:
    threshold = scores.threshold(allowed_errors(far, scores.non_mated))
    moved = None if drawn is None else fnmr_at_far(scores, far, drawn)
    return OperatingPoint(far, threshold, fmr_at(scores, threshold), fnmr_at(scores, threshold), moved)


def require_comparisons(scores: PairScores, identities: int) -> None:
    """VultusError where rates have no denominator."""
    if scores.non_mated == 0:
        what = "one identity only" if identities == 1 else "no two identities"
        raise VultusError(f"{what}: there is nobody to tell apart; give images of at least two people")
    if scores.mated_comparisons == 0:
        raise VultusError("no identity has two images: nothing shows that a person is recognised again; add images")


def verify(
    scores: PairScores,
    fars: Sequence[float] = FARS,
    *,
    images: int = 0,
    identities: int = 0,
    bootstrap: int = 0,
    unsupported: bool = False,
) -> Verification:
    """The figures of `scores`; `bootstrap`: resamples of the identities for the intervals of TAR at each FAR.

    unsupported: also the figures that are withheld (`OperatingPoint.unsupported`).
    """
    require_comparisons(scores, identities)
    auc, auc_error = area(scores)
    eer, eer_threshold = equal_error(scores)
    edges, mated, non_mated = histograms(scores)
    threshold, far, tar = curve(scores)
    drawn = None
    if bootstrap and scores.comparisons is not None:
        drawn = IdentityBootstrap(scores.comparisons, replicates=bootstrap)
    return Verification(
        images=images,
        identities=identities,
        mated=scores.mated_comparisons,
        non_mated=scores.non_mated,
        mated_failures=scores.mated_failures,
        auc=auc,
        auc_error=auc_error,
        eer=eer,
        eer_threshold=eer_threshold,
        points=tuple(operating_point(scores, rate, drawn, unsupported) for rate in fars),
        histogram_edges=edges,
        histogram_mated=mated,
        histogram_non_mated=non_mated,
        curve_threshold=threshold,
        curve_far=far,
        curve_tar=tar,
        curve_tar_interval=tar_band(scores, threshold),
        by_identity=scores.comparisons is not None,
        hardest_mated=scores.hardest_mated,
        hardest_non_mated=scores.hardest_non_mated,
    )


def _complement(interval: Interval) -> Interval:
    return 1 - interval[1], 1 - interval[0]
