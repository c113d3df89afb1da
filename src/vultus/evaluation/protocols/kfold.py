"""k-fold accuracy: the threshold of a fold is chosen on the other folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals import wilson


@dataclass(frozen=True, eq=False)
class KFold:
    """Accuracy of "same" (score >= threshold) over k folds."""

    mean: float
    std: float
    """Standard deviation over the folds (ddof 0, as the field reports it). It is no confidence interval."""
    interval: tuple[float, float]
    """95 % Wilson interval over all pairs."""
    accuracies: np.ndarray
    """(k,), in ascending order of fold."""
    thresholds: np.ndarray
    """(k,), each chosen on the other folds."""
    pairs: int

    def __str__(self) -> str:
        return f"{self.mean:.2%} ± {self.std:.2%} over {len(self.accuracies)} folds, {self.pairs:,} pairs"


def kfold_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> KFold:
    """Accuracy over the folds, each with the threshold that is best on the other ones.

    scores (P,) higher is more alike (-inf: no face was found, never a match), same (P,) bool, folds (P,) integers.
    Raises VultusError with fewer than two folds or a NaN score.
    """
    scores, same, folds = (np.asarray(scores, np.float64), np.asarray(same, bool), np.asarray(folds))
    if not scores.shape == same.shape == folds.shape or scores.ndim != 1:
        raise ValueError(f"scores {scores.shape}, same {same.shape} and folds {folds.shape} must be (P,)")
    if np.isnan(scores).any():
        raise VultusError(f"the score of pair {int(np.isnan(scores).argmax())} is NaN: look at its embeddings")
    which = np.unique(folds)
    if len(which) < 2:
        raise VultusError("k-fold accuracy needs at least two folds: the threshold comes from the other ones")
    found = np.isfinite(scores)  # no threshold may be chosen that lets missing faces match
    training = [found & (folds != fold) for fold in which]
    thresholds = np.array([best_threshold(scores[rows], same[rows]) for rows in training])
    right = (scores >= thresholds[np.searchsorted(which, folds)]) == same
    accuracies = np.array([right[folds == fold].mean() for fold in which])
    return KFold(
        mean=float(accuracies.mean()),
        std=float(accuracies.std()),
        interval=wilson(int(right.sum()), len(right)),
        accuracies=accuracies,
        thresholds=thresholds,
        pairs=len(right),
    )


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the highest accuracy: midway between two scores, the median of equally good ones."""
    if not len(scores):
        return float("inf")
    values, index = np.unique(scores, return_inverse=True)
    mated = np.bincount(index, weights=same, minlength=len(values))
    non_mated = np.bincount(index, weights=~same, minlength=len(values))
    # Cut b: values[b:] match. Right are the mated scores from b on and the non-mated ones before b.
    right = np.append(mated[::-1].cumsum()[::-1], 0) + np.concatenate([[0], non_mated.cumsum()])
    best = np.flatnonzero(right == right.max())
    cut = int(best[len(best) // 2])
    if cut == 0:
        return float(values[0])
    if cut == len(values):
        return float(np.nextafter(values[-1], np.inf))
    return float((values[cut - 1] + values[cut]) / 2)
