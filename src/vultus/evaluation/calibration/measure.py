"""Making a calibration: from embeddings, from the scores of all their pairs, or from a list of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from vultus.errors import CalibrationError, VultusError
from vultus.evaluation.calibration.crops import CropOrigin
from vultus.evaluation.calibration.likelihood import fit_likelihood
from vultus.evaluation.calibration.people import People
from vultus.evaluation.calibration.prediction import (
    Covariances,
    Measured,
    Sample,
    measured,
    prediction,
    prediction_of_estimate,
)
from vultus.evaluation.calibration.record import Calibration
from vultus.evaluation.calibration.tail import DECADES, FEWEST_PAIRS, TailFit, fit_tail
from vultus.evaluation.calibration.thresholds import CalibrationPoint, calibration_grid, grid_rate
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.intervals import (
    IdentityBootstrap,
    Interval,
    allowed_errors,
    needed_comparisons,
    non_mated_rate,
    wilson_at,
)
from vultus.evaluation.protocols.listed import listed_scores
from vultus.evaluation.protocols.rates import fnmr_at
from vultus.evaluation.protocols.verification import require_comparisons
from vultus.evaluation.scores import PairScores, all_pairs
from vultus.evaluation.selection import cap_per_identity

REPLICATES = 200
"""Resamples of the identities for an extrapolation's interval."""


def calibrate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    source: str,
    contract_id: str,
    split: str = "calibration",
    data_digest: str = "",
    max_per_identity: int | None = None,
    mated_failures: int | np.ndarray = 0,
    people: People | None = None,
    crops: CropOrigin | None = None,
) -> Calibration:
    """Calibrate over all pairs of `embeddings` (N, D) float32 unit rows with `labels` (N,) integers.

    Use identities that no other split holds. `max_per_identity` keeps the first that many images of each.
    Raises CalibrationError with fewer than 100 non-mated pairs, which support not even an FMR of 1e-1.
    """
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    if max_per_identity is not None:
        chosen = cap_per_identity(labels, max_per_identity)
        embeddings, labels = embeddings[chosen], labels[chosen]
    scores = all_pairs(embeddings, labels, mated_failures=mated_failures, hardest=0)
    return calibrate_scores(
        scores,
        source=source,
        contract_id=contract_id,
        split=split,
        data_digest=data_digest,
        images=len(labels),
        max_per_identity=max_per_identity,
        people=people,
        crops=crops,
    )


def calibrate_scores(
    scores: PairScores,
    *,
    source: str,
    contract_id: str,
    split: str = "calibration",
    data_digest: str = "",
    images: int = 0,
    max_per_identity: int | None = None,
    people: People | None = None,
    crops: CropOrigin | None = None,
) -> Calibration:
    """The same from comparisons that are already made: what an evaluation has computed is not computed again."""
    compared = scores.comparisons
    identities = 0 if compared is None else int(((compared.mated + compared.non_mated) > 0).sum())
    require_comparisons(scores, identities)
    points = _points(scores)
    if not points:
        raise CalibrationError(
            f"{scores.non_mated} non-mated pairs support no false match rate: calibrate on at least "
            f"{needed_comparisons(0.1)} (more identities)"
        )
    known = compared is not None and scores.tail_identities is not None
    tail = None
    if scores.non_mated >= FEWEST_PAIRS:
        drawn = IdentityBootstrap(compared, REPLICATES).weights if compared is not None and known else None
        tail = fit_tail(scores, [(at.threshold, (at.fmr_low, at.fmr_high)) for at in points], drawn, REPLICATES)
    scored = getattr(compared, "scored", compared)  # the failures beside them make no non-mated comparisons
    counts, people_with = np.unique(scored.images, return_counts=True) if isinstance(scored, AllPairs) else ((), ())
    from vultus import __version__

    return Calibration(
        source=source,
        data_digest=data_digest,
        split=split,
        identities=identities,
        images=images,
        mated=scores.mated_comparisons,
        non_mated=scores.non_mated,
        max_per_identity=max_per_identity,
        contract_id=contract_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        vultus_version=__version__,
        independent=not known,
        images_of_people=tuple((int(n), int(g)) for n, g in zip(counts, people_with, strict=True) if n),
        points=tuple(points),
        extrapolated=tuple(_extrapolated(scores, tail, points[-1])) if tail else (),
        tail=tail.tail if tail else None,
        likelihood=fit_likelihood(scores),
        people=people,
        crops=crops,
    )


def scores_of(scores: np.ndarray, labels: np.ndarray, identities: np.ndarray | None) -> PairScores:
    """What is kept of a list of comparisons, checked: see `Calibration.fit`."""
    scores, labels = np.asarray(scores, np.float32), np.asarray(labels)
    if scores.ndim != 1 or labels.shape != scores.shape:
        raise VultusError(f"scores of shape {scores.shape} and labels of shape {labels.shape}: give (P,) and (P,)")
    mated = labels.astype(bool)
    wrong = ~np.isneginf(scores) & ~(np.abs(scores) <= 1 + 1e-5)  # NaN too
    if wrong.any():
        row = int(wrong.argmax())
        raise VultusError(f"score {row} is {scores[row]}: a score to calibrate is a cosine in [-1, 1], or -inf")
    codes = None if identities is None else _codes(np.asarray(identities), mated)
    return listed_scores(np.clip(scores, -np.inf, 1), mated, codes)


def _codes(identities: np.ndarray, mated: np.ndarray) -> np.ndarray:
    """(P, 2) int64 in 0..G-1."""
    if identities.shape != (len(mated), 2):
        raise VultusError(f"identities of shape {identities.shape} for {len(mated):,} scores: give (P, 2)")
    contradicted = (identities[:, 0] == identities[:, 1]) != mated
    if contradicted.any():
        row = int(contradicted.argmax())
        one, two = identities[row]
        raise VultusError(
            f"pair {row} of {one} and {two} is labelled {'mated' if mated[row] else 'non-mated'}: labels and "
            f"identities contradict each other in {int(contradicted.sum()):,} pairs"
        )
    return np.unique(identities, return_inverse=True)[1].reshape(-1, 2)


def _points(scores: PairScores) -> list[CalibrationPoint]:
    """The measured part of the grid, FMR descending."""
    grid = calibration_grid(scores.non_mated)
    thresholds = [scores.threshold(allowed_errors(fmr, scores.non_mated)) for fmr in grid]
    errors = [scores.false_matches(threshold) for threshold in thresholds]
    points = []
    for fmr, threshold, count, found in zip(grid, thresholds, errors, _measured(scores, errors), strict=True):
        rate = count / scores.non_mated
        effective = found.effective * (rate or 1 / scores.non_mated) / max(1 - rate, 1e-9)
        interval = wilson_at(rate, found.effective)
        expected = prediction(rate or fmr, effective, effective)
        points.append(_point(scores, fmr, threshold, rate, interval, effective, found.covariances, expected))
    return points


def _measured(scores: PairScores, errors: Sequence[int]) -> list[Measured]:
    """What people share at each number of false matches (descending), as far as it is known whose they are."""
    compared, pairs = scores.comparisons, scores.tail_identities
    alone = Measured(Covariances(0.0, 0.0), float(scores.non_mated))
    if compared is None or pairs is None:
        return [alone] * len(errors)
    sample = Sample.of(compared)
    known = [count for count in errors if 0 < count <= len(pairs)]
    largest_first = pairs[len(pairs) - max(known, default=0) :][::-1]
    found = dict(zip(known, measured(largest_first, known, compared, sample), strict=True)) if known else {}
    none = non_mated_rate(pairs[:0, 0], pairs[:0, 1], compared).effective  # many equal scores: no false match is left
    answers = []
    for count in errors:
        if count in found or count == 0:
            answers.append(found.get(count, Measured(Covariances(0.0, 0.0), none)))
        elif not known:
            answers.append(alone)
        else:
            # Too many to keep whose they are. Two comparisons of the same two people correlate about as much at every
            # rate, so c2 / p^2 falls as 1 / p; c1 / p^2 is largest at the lowest rates.
            near, rate = found[known[0]].covariances, count / sample.comparisons
            at = Covariances(near.shared, near.repeated * known[0] / count)
            answers.append(Measured(at, (1 - rate) / (rate * at.relative_variance(rate, sample))))
    return answers


def _extrapolated(scores: PairScores, fit: TailFit, last: CalibrationPoint) -> list[CalibrationPoint]:
    """The grid below the data, FMR descending, as long as the threshold is a cosine."""
    compared = scores.comparisons
    sample = Sample.independent(scores.non_mated) if compared is None else Sample.of(compared)
    index = next(k for k in range(10_000) if grid_rate(k) < last.fmr)
    points: list[CalibrationPoint] = []
    end = last.fmr * 10**-DECADES
    while (fmr := grid_rate(index)) >= end * (1 - 1e-4):
        # Never easier to pass than the lowest measured rate.
        threshold = float(np.float32(max(fit.tail.threshold(fmr), last.threshold)))
        if threshold >= 1:
            break
        low, high = fit.interval(threshold)
        low, high = min(low, fmr), max(high, fmr)
        effective = 1 / last.covariances.relative_variance(fmr, sample)
        expected = prediction_of_estimate(fmr, (low, high), effective)
        points.append(_point(scores, fmr, threshold, fmr, (low, high), effective, last.covariances, expected))
        index += 1
    return points


def _point(
    scores: PairScores,
    fmr: float,
    threshold: float,
    rate: float,
    interval: Interval,
    effective: float,
    at: Covariances,
    expected: Interval,
) -> CalibrationPoint:
    missed = fnmr_at(scores, threshold)
    numbers = (rate, *interval, missed.value, *missed.interval, effective, at.shared, at.repeated, *expected)
    return CalibrationPoint(fmr, threshold, *(float(f"{number:.6g}") for number in numbers))
