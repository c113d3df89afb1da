"""A template far from its person's others is another person's, or useless; enrolled, it would answer to both.

The attack that no limit keeps out is a morph: a face between two people. Whoever may hand in a photograph of the victim
hands in a blend of the victim and a stranger, or, where embeddings are taken, computes one. A blend that scores as the
limit asks with the victim's others scores higher still with the stranger, who is then matched as the victim. What can
be measured is measured: a blend fits its person worse than nearly all of the person's own photographs do, and one with
somebody enrolled is like that person as well. A blend that is made to fit better passes both
(`benchmarks/morph_guard.py`, docs/decisions.md).

What else it cannot see: a look-alike or a relative, whose scores reach the threshold more often than a stranger's; a
person's first photograph, which has nothing to differ from; and a person whose enrolled templates are wrong already, of
whom the right ones are then refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.errors import ContractError
from vultus.evaluation import Calibration, Threshold
from vultus.gallery.rates import rate_in_words

MATED_MISSES = 0.05
"""A template is doubtful whose mean score with its person's others is one that at most this share of comparisons of one
person's photographs fall below. Our choice: what it costs and finds is measured in docs/decisions.md."""


@dataclass(frozen=True)
class Far:
    """A new template that is too unlike its person's others."""

    row: int
    """Of the new templates."""
    score: float
    """Mean cosine in [-1, 1] with the others that it was compared with."""
    others: int
    """How many those are."""
    threshold: Threshold
    """A stranger's photograph reaches it in a share `threshold.fmr` of comparisons."""
    known: bool
    """Whether the others are known to be this person: enrolled, or more than half of the new ones. Otherwise the new
    ones disagree, all are named, and somebody has to say which of them are the person."""

    @property
    def reason(self) -> str:
        """One line: what was measured, what it misses, the mend."""
        others = f"{self.others} other photograph{'s' * (self.others != 1)}"
        below = (
            f"{_score(self.score, self.threshold.score)}, below {self.threshold.score:.3f}, which "
            f"{self.threshold.fmr * 100:.2g} % of comparisons with strangers reach"
        )
        if self.known:
            return (
                f"not like this person's {others}: mean score {below}; leave it out, or, if it does show this person, "
                "raise outlier_fmr"
            )
        return (
            f"the photographs do not show one person: mean score with {others} {below}, and no more than half of them "
            "agree; give only those of the person"
        )

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Doubtful:
    """A new template that a stranger's would hardly resemble, but that fits its person worse than nearly all do."""

    row: int
    """Of the new templates."""
    score: float
    """Mean cosine in [-1, 1] with the person's others."""
    others: int
    threshold: Threshold
    """A person's own photographs fall below it in a share `threshold.fnmr` of comparisons."""
    like_another: bool
    """Whether it looks like somebody else who is enrolled, too: the mark of a blend of two people."""

    @property
    def code(self) -> str:
        return "like_somebody_else" if self.like_another else "fits_badly"

    @property
    def reason(self) -> str:
        """One line: what was measured, and the mend."""
        fit = (
            f"mean score with this person's {self.others} other photograph{'s' * (self.others != 1)} "
            f"{_score(self.score, self.threshold.score)}, below {self.threshold.score:.3f}, which only "
            f"{rate_in_words(self.threshold.fnmr)} of comparisons of one person's photographs miss"
        )
        if self.like_another:
            return (
                f"between two people: {fit}, and it looks like somebody else who is enrolled; give another photograph"
            )
        return f"fits badly: {fit}; enrolled, look whether it shows this person and nobody else"


def mated_threshold(calibration: Calibration) -> Threshold | None:
    """The highest threshold that at most `MATED_MISSES` of mated comparisons miss; None where each misses more."""
    good = [point.fmr for point in calibration.points if point.fnmr <= MATED_MISSES]
    return calibration.threshold_at(good[-1]) if good else None


def doubtful_templates(
    new: np.ndarray, known: np.ndarray, threshold: Threshold, alike: frozenset[int] = frozenset()
) -> list[Doubtful]:
    """The rows of `new` (N, D) whose mean score with all others of `new` and `known` (M, D) is below the threshold.

    alike  rows of `new` that look like somebody else who is enrolled
    """
    rows = np.concatenate([known, new]) if len(known) else new
    others = len(rows) - 1
    if others < 1:
        return []
    means = (new.astype(np.float64) @ rows.sum(axis=0) - (new.astype(np.float64) ** 2).sum(axis=1)) / others
    low = np.flatnonzero(means < threshold.score).tolist()
    return [Doubtful(row, float(means[row]), others, threshold, row in alike) for row in low]


def far_templates(new: np.ndarray, known: np.ndarray, threshold: Threshold) -> list[Far]:
    """The rows of `new` that do not fit their person, in order; empty where all do.

    new        (N, D) float32 unit rows to be enrolled
    known      (M, D) unit rows of the person's enrolled templates; M may be 0
    threshold  what a mean score with the others must reach, at a false match rate of one comparison

    The group starts with the enrolled ones, which are not judged again. Without any, it starts with what is left of the
    new ones when the one with the lowest mean score with the others is taken away until all reach the threshold, if
    that is more than half of them; otherwise nobody can say which is the odd one, and all are named. One photograph
    alone passes. Then the new one with the highest mean score with the group joins, until none reaches the threshold.

    The mean, not the best, so that a person with many templates gives a stranger no more chances, and so that no chain
    of photographs, each like the last, leads away from the person. Measured with `benchmarks/enrolment_guards.py` on
    LFW, SFace, at a false match rate of 1 %: with 1, 3 and 9 enrolled, 0.9 %, 0 % and 0 % of a person's photographs are
    refused (of the 11 people concerned, 4 are two people under one name) and 99.0 %, 99.6 % and 99.8 % of strangers'
    are caught; by the best score only 95.2 % of these with 9.

    Raises ContractError for arrays that do not belong together.
    """
    new, known = np.asarray(new, np.float32), np.asarray(known, np.float32)
    if new.ndim != 2 or known.ndim != 2 or (len(known) and new.shape[1] != known.shape[1]):
        raise ContractError(f"templates of shapes {new.shape} and {known.shape} cannot be compared; give rows of one D")
    if not len(new) or len(new) + len(known) < 2:
        return []
    rows = np.concatenate([known, new]) if len(known) else new
    scores = (rows @ rows.T).astype(np.float64)
    if len(known):
        core = np.arange(len(rows)) < len(known)
    else:
        core = _agreeing(scores, threshold.score)
        if 2 * core.sum() <= len(new):
            means = (scores.sum(axis=1) - scores.diagonal()) / (len(new) - 1)
            return [Far(row, float(means[row]), len(new) - 1, threshold, False) for row in range(len(new))]
    group = _grown(scores, core, threshold.score)
    means, size = scores[:, group].mean(axis=1), int(group.sum())
    return [Far(int(row) - len(known), float(means[row]), size, threshold, True) for row in np.flatnonzero(~group)]


def _agreeing(scores: np.ndarray, least: float) -> np.ndarray:
    """(N,) bool: what is left when the row that fits worst is taken away until each one's mean is at least `least`."""
    group = np.ones(len(scores), bool)
    sums = scores.sum(axis=1) - scores.diagonal()
    while (size := int(group.sum())) > 1:
        worst = int(np.argmin(np.where(group, sums, np.inf)))
        if sums[worst] >= least * (size - 1):
            break
        group[worst] = False
        sums -= scores[worst]
    return group


def _grown(scores: np.ndarray, core: np.ndarray, least: float) -> np.ndarray:
    """(N,) bool: the core and whoever joins it, the best first."""
    group, sums = core.copy(), scores[:, core].sum(axis=1)
    while not group.all():
        best = int(np.argmax(np.where(group, -np.inf, sums)))
        if sums[best] < least * group.sum():
            break
        group[best] = True
        sums += scores[best]
    return group


def _score(score: float, limit: float) -> str:
    """The score, with as many digits as tell it from the limit."""
    return next((text for digits in range(3, 9) if float(text := f"{score:.{digits}f}") < limit), repr(score))
