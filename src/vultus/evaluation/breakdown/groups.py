"""Error rates of groups of people at one fixed threshold, and between groups (ISO/IEC 19795-10; NIST IR 8280).

A non-mated pair belongs to the groups of both its people. A group's own FMR counts pairs of two of its people, which
are the hard ones (NIST reports them as the diagonal); pairs of people of two groups make the rest of the matrix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, inf, log, sqrt
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.breakdown.cell import Cell, cell, finite, mated_cell, worth
from vultus.evaluation.breakdown.outcomes import Outcomes, decide
from vultus.evaluation.comparisons import AllPairs, Comparisons, TwoSets
from vultus.evaluation.intervals import Interval, Rate, non_mated_rate

UNKNOWN = "unknown"
MOST = 30
"""Groups beyond which a column holds names or measurements, and a matrix is no longer readable."""


@dataclass(frozen=True)
class Ratio:
    """How many times as often the worst group errs as the best one, among the groups whose rate is told."""

    worst: str = ""
    best: str = ""
    value: float | None = None
    """None where it is withheld: fewer than two groups are told, the best one has no error, or `chance` is infinite."""
    interval: Interval | None = None
    """95 %: from the intervals of the two rates (MOVER, Zou and Donner, Statistics in Medicine 27, 2008), on logs."""
    chance: float | None = None
    """The ratio that 95 % of data sets of this size stay below if all these groups are alike. The worst of several is
    always worse than the best: only a ratio above this one shows a difference. Infinite where so few independent errors
    are expected that the best group may have none."""
    left_out: tuple[str, ...] = ()
    """Groups too small for a rate."""

    @property
    def shows_a_difference(self) -> bool:
        """Whether the ratio is beyond what alike groups show, and its interval beyond 1."""
        return (
            self.value is not None
            and self.interval is not None
            and self.chance is not None
            and self.interval[0] > 1
            and self.value > self.chance
        )


@dataclass(frozen=True, eq=False)
class GroupRates:
    """Rates of groups at one threshold; rows and columns in the order of `names`, "unknown" last."""

    column: str
    threshold: float
    names: tuple[str, ...]
    images: tuple[int, ...]
    identities: tuple[int, ...]
    fmr: tuple[tuple[Cell, ...], ...]
    """Symmetric: the pairs of a person of one group with a person of the other; the diagonal is a group's own FMR."""
    fnmr: tuple[tuple[Cell, ...], ...]
    """The same of mated pairs; off the diagonal only where one person's images may lie in two groups."""
    all_fmr: Cell
    all_fnmr: Cell
    fmr_ratio: Ratio
    fnmr_ratio: Ratio
    by_image: bool
    """Whether a group belongs to an image (the light, the camera) and not to a person."""
    filled: int
    """Images without a value that took the one of their person's other images."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None where a bound is infinite."""
        return finite(asdict(self))


def group_rates(
    embeddings: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    threshold: float,
    *,
    column: str = "group",
    by_image: bool = False,
    failures: np.ndarray | None = None,
    block: int = 2048,
) -> GroupRates:
    """FMR and FNMR of each group, and FMR between groups, at `threshold`.

    Args:
        embeddings, labels: (N, D) float32 unit rows and (N,) integers.
        groups: the group of each image (N,), or of each identity (G,) in ascending order of the labels. None, "" and
            NaN are the group "unknown".
        by_image: one person's images may lie in different groups.
        failures: see `decide`.

    Raises:
        VultusError: another number of groups, people with two groups (unless `by_image`), one group only, too many.
    """
    codes, names, filled = tidy(labels, groups, column, by_image)
    return rates_of(decide(embeddings, labels, threshold, failures=failures, block=block), codes, names, column, filled)


def rates_of(
    outcomes: Outcomes, codes: np.ndarray, names: Sequence[str], column: str = "group", filled: int = 0
) -> GroupRates:
    """The rates from decided comparisons and the group of each image, (N,) codes into `names`."""
    n, identities = len(names), outcomes.identities
    images = np.stack([np.bincount(outcomes.identity[codes == g], minlength=identities) for g in range(n)])
    by_image = bool(((images > 0).sum(axis=0) > 1).any())
    all_fmr = cell(_fmr(outcomes, slice(None), AllPairs(outcomes.images)), worth(outcomes.images), None, power=2)
    all_fnmr = _fnmr(outcomes, slice(None), outcomes.failures, None)
    false, mated = (_by_groups(codes[pairs], n) for pairs in (outcomes.false_matches, outcomes.mated))
    nobody = np.zeros(identities, np.int64)
    fmr, fnmr = ([[all_fmr] * n for _ in range(n)] for _ in range(2))
    for a in range(n):
        # A photograph without a face belongs to its person's group; who has several is counted in the total only.
        lost = nobody if by_image else np.where(images[a] > 0, outcomes.failures, 0)
        for b in range(a, n):
            comparisons = AllPairs(images[a]) if a == b else TwoSets(images[a], images[b])
            people = min(worth(images[a]), worth(images[b]))
            rate = _fmr(outcomes, false[a, b], comparisons)
            fmr[a][b] = fmr[b][a] = cell(rate, people, all_fmr.rate, power=2)
            fnmr[a][b] = fnmr[b][a] = _fnmr(outcomes, mated[a, b], lost if a == b else nobody, all_fnmr.rate)
    return GroupRates(
        column=column,
        threshold=outcomes.threshold,
        names=tuple(names),
        images=tuple(int(row.sum()) for row in images),
        identities=tuple(int((row > 0).sum()) for row in images),
        fmr=tuple(map(tuple, fmr)),
        fnmr=tuple(map(tuple, fnmr)),
        all_fmr=all_fmr,
        all_fnmr=all_fnmr,
        fmr_ratio=ratio({name: fmr[k][k] for k, name in enumerate(names)}),
        fnmr_ratio=ratio({name: fnmr[k][k] for k, name in enumerate(names)}),
        by_image=by_image,
        filled=filled,
    )


def _fmr(outcomes: Outcomes, which: np.ndarray | slice, comparisons: Comparisons) -> Rate:
    first, second = outcomes.identity[outcomes.false_matches[which]].T
    return non_mated_rate(first, second, comparisons)


def _fnmr(outcomes: Outcomes, which: np.ndarray | slice, lost: np.ndarray, reference: Rate | None) -> Cell:
    owner, rejected = outcomes.mated_identity[which], outcomes.rejected[which]
    counts = np.bincount(owner, minlength=outcomes.identities) + lost
    return mated_cell(np.bincount(owner[rejected], minlength=outcomes.identities) + lost, counts, reference)


def _by_groups(pairs: np.ndarray, groups: int) -> dict[tuple[int, int], np.ndarray]:
    """For each a <= b the indices of the (P, 2) pairs of groups that are a and b in either order."""
    key = pairs.min(axis=1, initial=groups) * groups + pairs.max(axis=1, initial=0)
    order = np.argsort(key, kind="stable")
    cuts = np.searchsorted(key[order], np.arange(groups * groups + 1))
    return {(a, b): order[cuts[k] : cuts[k + 1]] for k in range(groups * groups) for a, b in [divmod(k, groups)]}


def ratio(cells: Mapping[str, Cell], seed: int = 0) -> Ratio:
    """Worst to best of the told rates."""
    told = {name: c.rate for name, c in cells.items() if c.is_supported}
    left_out = tuple(name for name in cells if name not in told)
    if len(told) < 2:
        return Ratio(left_out=left_out)
    worst, best = max(told, key=lambda g: told[g].value), min(told, key=lambda g: told[g].value)
    high, low = told[worst], told[best]
    if high.errors == 0:
        return Ratio(left_out=left_out)  # nobody errs: nothing to compare
    chance = _chance(list(told.values()), seed)
    if low.errors == 0:
        return Ratio(worst, best, None, (high.interval[0] / low.interval[1], inf), chance, left_out)
    value = high.value / low.value
    # Distances of the two rates from their bounds, on logs: the worst one downwards with the best one upwards.
    down = sqrt(log(high.value / high.interval[0]) ** 2 + log(low.interval[1] / low.value) ** 2)
    up = sqrt(log(high.interval[1] / high.value) ** 2 + log(low.value / low.interval[0]) ** 2)
    told_value = value if chance < inf else None
    return Ratio(worst, best, told_value, (value * exp(-down), value * exp(up)), chance, left_out)


def _chance(rates: Sequence[Rate], seed: int, draws: int = 10_000) -> float:
    """95 % quantile of worst to best when all have one rate and as many independent comparisons as they are worth."""
    common = sum(r.errors for r in rates) / sum(r.trials for r in rates)
    sizes = np.array([max(1, round(r.effective)) for r in rates])
    drawn = np.random.default_rng(seed).binomial(sizes, common, (draws, len(sizes))) / sizes
    low, high = drawn.min(axis=1), drawn.max(axis=1)
    ratios = np.divide(high, low, out=np.where(high > 0, inf, 1.0), where=low > 0)
    return float(np.quantile(ratios, 0.95, method="higher"))


def tidy(
    labels: np.ndarray, groups: Sequence[object] | np.ndarray, column: str = "group", by_image: bool = False
) -> tuple[np.ndarray, tuple[str, ...], int]:
    """((N,) codes, names with "unknown" last, images that took their person's value); see `group_rates`."""
    names, identity = np.unique(np.asarray(labels), return_inverse=True)
    given = [_text(value) for value in groups]
    if len(given) == len(names) != len(identity):
        given = [given[i] for i in identity]
    elif len(given) != len(identity):
        raise VultusError(
            f"{column}: {len(given):,} values for {len(identity):,} images of {len(names):,} people; give one for "
            "each image or one for each person"
        )
    filled = 0
    if not by_image:
        values: dict[int, set[str]] = defaultdict(set)
        for who, value in zip(identity.tolist(), given, strict=True):
            if value != UNKNOWN:
                values[who].add(value)
        if torn := [who for who, has in values.items() if len(has) > 1]:
            example = ", ".join(sorted(values[torn[0]]))
            raise VultusError(
                f"{column}: {len(torn):,} of {len(names):,} people lie in two or more groups (label "
                f"{names[torn[0]]}: {example}); correct them, or say that the column belongs to the image"
            )
        whole = [next(iter(values[who])) if values[who] else UNKNOWN for who in identity.tolist()]
        filled = sum(a != b for a, b in zip(whole, given, strict=True))
        given = whole
    found = sorted(set(given) - {UNKNOWN}) + ([UNKNOWN] if UNKNOWN in given else [])
    if len(found) < 2:
        raise VultusError(f"{column}: every image is {found[0]!r}; a comparison of groups needs at least two")
    if len(found) > MOST:
        raise VultusError(f"{column} has {len(found):,} different values; give a column of at most {MOST} groups")
    place = {name: k for k, name in enumerate(found)}
    return np.array([place[value] for value in given]), tuple(found), filled


def _text(value: object) -> str:
    """A text "nan" or "none" is the name of a group: unknown is only what nothing was written for, or "unknown"."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return UNKNOWN
    text = str(value).strip()
    return UNKNOWN if text.lower() in ("", UNKNOWN) else text
