"""k-fold accuracy: the threshold of a fold is chosen on the other folds."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.comparisons import pair_key
from vultus.evaluation.intervals import Interval, Rate, independent_rate, join, people_interval, wilson
from vultus.evaluation.intervals.dependence import SHARE


@dataclass(frozen=True, eq=False)
class KFold:
    """Accuracy of "same" (score >= threshold) over k folds."""

    mean: float
    std: float
    """Standard deviation over the folds (ddof 0, as the field reports it). It is no confidence interval."""
    error: Rate
    """Wrong decisions among all pairs; its interval respects shared people where `by_identity`."""
    accuracies: np.ndarray
    """(k,), in ascending order of fold."""
    thresholds: np.ndarray
    """(k,), each chosen on the other folds."""
    right: np.ndarray
    """(P,) bool: the decision about each pair was right."""
    by_identity: bool = False
    shared: int | None = None
    """Identities that occur in more than one fold: 0 where a threshold never saw the people it is judged on."""

    @property
    def pairs(self) -> int:
        return len(self.right)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy over all pairs."""
        return 1 - self.error.interval[1], 1 - self.error.interval[0]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; without the decisions about single pairs."""
        plain = {
            "mean": self.mean,
            "std": self.std,
            "interval": list(self.interval),
            "effective": self.error.effective,
            "accuracies": self.accuracies.tolist(),
            "thresholds": self.thresholds.tolist(),
        }
        return {**plain, "pairs": self.pairs, "by_identity": self.by_identity, "shared": self.shared}

    def __str__(self) -> str:
        return f"{self.mean:.2%} ± {self.std:.2%} over {len(self.accuracies)} folds, {self.pairs:,} pairs"


def kfold_accuracy(
    scores: np.ndarray, same: np.ndarray, folds: np.ndarray, identities: np.ndarray | None = None
) -> KFold:
    """Accuracy over the folds, each with the threshold that is best on the other ones.

    scores (P,) higher is more alike (-inf: no face was found, never a match), same (P,) bool, folds (P,) integers,
    identities (P, 2) codes of whose images they are, where that is known (equal in a row exactly where `same`).
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
    wrong = int((~right).sum())
    return KFold(
        mean=float(accuracies.mean()),
        std=float(accuracies.std()),
        error=independent_rate(wrong, len(right)) if identities is None else error_rate(~right, same, identities),
        accuracies=accuracies,
        thresholds=thresholds,
        right=right,
        by_identity=identities is not None,
        shared=None if identities is None else shared_identities(identities, folds),
    )


def error_rate(wrong: np.ndarray, same: np.ndarray, identities: np.ndarray) -> Rate:
    """Wrong decisions (P,) bool among mated and non-mated pairs together, with an interval over their people.

    The effective number: two pairs may depend on one another where they share a person. With the residual
    e_k = wrong_k - p of each pair, R_i the sum over the n_i pairs that identity i takes part in and R_ij over those of
    the identities i != j, Var(p) = (sum_i (R_i / (1 - n_i / P))^2 - sum_{i<j} R_ij^2) / P^2. The divisor (a jackknife)
    makes good that p follows those who are in many pairs. Without errors: as if all pairs of a person went wrong
    together.
    """
    identities = np.asarray(identities)
    if identities.shape != (len(wrong), 2) or ((identities[:, 0] == identities[:, 1]) != same).any():
        raise ValueError("identities must be (P, 2) codes, equal in a row exactly where `same` is true")
    total, errors = len(wrong), int(wrong.sum())
    people = int(identities.max(initial=-1)) + 1
    taken = np.bincount(identities[:, 0], minlength=people) + np.bincount(identities[~same, 1], minlength=people)
    if errors in (0, total) or taken.max() == total:
        effective = total**2 / float(taken @ taken.astype(np.float64))
    else:
        rate = errors / total
        residual = wrong - rate
        of_person = np.bincount(identities[:, 0], residual, minlength=people)
        of_person += np.bincount(identities[~same, 1], residual[~same], minlength=people)
        of_person /= 1 - taken / total
        apart = np.unique(pair_key(identities[~same, 0], identities[~same, 1], people), return_inverse=True)[1]
        of_pair = np.bincount(apart, residual[~same]) if len(apart) else np.zeros(1)
        variance = float(of_person @ of_person - of_pair @ of_pair) / total**2
        effective = rate * (1 - rate) / max(variance, 1e-300)
    # Shared people do not make comparisons more informative than independent ones.
    effective = min(float(total), effective)
    return Rate(errors, total, _over_people(wrong, same, identities, people), effective)


def _over_people(wrong: np.ndarray, same: np.ndarray, identities: np.ndarray, people: int) -> Interval:
    """Mated and non-mated pairs over their people, the distances to their ends joined (MOVER)."""
    total, ends = len(wrong), []
    for kind, share in ((same, 1.0), (~same, SHARE)):
        who = identities[kind] if share < 1 else identities[kind, :1]
        counts = np.bincount(who.ravel(), minlength=people)
        errors = np.bincount(who[wrong[kind]].ravel(), minlength=people)
        part, rate = kind.sum() / total, errors.sum() / max(1, counts.sum())
        low, high = people_interval(errors, counts, share=share)
        ends.append((part * (rate - low), part * (high - rate)))
    rate = float(wrong.mean())
    (down, up), (below, above) = ends
    over = (max(0.0, rate - hypot(down, below)), min(1.0, rate + hypot(up, above)))
    return join([wilson(int(wrong.sum()), total), over])


def shared_identities(identities: np.ndarray, folds: np.ndarray) -> int:
    """How many identities occur in more than one fold."""
    seen = np.unique(np.stack([identities.ravel(), np.repeat(folds, 2)], axis=1), axis=0)
    return int((np.bincount(seen[:, 0]) > 1).sum())


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
