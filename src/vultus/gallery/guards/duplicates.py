"""Is somebody who is being enrolled here already under another name? A warning: twins are, and are not, the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vultus.errors import CalibrationError
from vultus.evaluation import Calibration, Threshold
from vultus.gallery.index import Hit
from vultus.gallery.rates import expected_fpir, rate_in_words, search_threshold


@dataclass(frozen=True)
class Duplicate:
    """An enrolled person whom the new templates look like."""

    person_id: int
    score: float
    """Cosine of the best pair of a new template and one of theirs."""
    template_id: int
    """Theirs of that pair."""
    row: int
    """The new one of that pair."""
    rows: tuple[int, ...]
    """The new templates that reach the threshold with them."""
    searched: int
    """How many new templates there are."""
    threshold: Threshold
    """`threshold.fpir` is how often enrolling a stranger warns, at most; `threshold.templates` how many comparisons
    that takes into account. Above the rate asked for where the calibration does not support that."""

    @property
    def agreeing(self) -> int:
        """How many of the new templates reach the threshold."""
        return len(self.rows)

    def __str__(self) -> str:
        """For people, without who it is."""
        often = "" if self.threshold.fpir is None else f", as {rate_in_words(self.threshold.fpir)} of strangers do"
        return (
            f"{self.agreeing} of {self.searched} new photographs look like somebody enrolled (score {self.score:.3f} "
            f">= {self.threshold.score:.3f}{often}, at most); enrol them under that id if it is the same person"
        )


def find_duplicates(
    hits: Sequence[Sequence[Hit]], own: int | None, calibration: Calibration, fpir: float, templates: int
) -> tuple[Duplicate, ...]:
    """Whom the new templates look like, the most alike first.

    hits       of each new template, searched over the collection by its people's best templates
    own        the id of the person who is enrolled, who is left out; None for somebody new
    fpir       the share of strangers whose enrolment may warn, however many photographs they bring
    templates  how many are in the collection

    R photographs searched over N templates are R * N comparisons, and any of them may reach the threshold, so it is
    that of a search over R * N templates. A stranger's photographs are alike, so the true rate is lower: a cautious
    estimate, which costs little, since the best of R mated scores grows with R as well. Demanding that most of the
    photographs agree would miss who brings one good one among several poor ones.
    """
    threshold = duplicate_threshold(calibration, fpir, max(1, len(hits)) * templates)
    best: dict[int, tuple[Hit, int]] = {}
    reaching: dict[int, list[int]] = {}
    for row, found in enumerate(hits):
        for hit in found:
            if hit.person_id == own or hit.score < threshold.score:
                continue
            reaching.setdefault(hit.person_id, []).append(row)
            if hit.person_id not in best or hit.score > best[hit.person_id][0].score:
                best[hit.person_id] = hit, row
    return tuple(
        Duplicate(hit.person_id, hit.score, hit.template_id, row, tuple(reaching[hit.person_id]), len(hits), threshold)
        for hit, row in sorted(best.values(), key=lambda pair: -pair[0].score)
    )


def duplicate_threshold(calibration: Calibration, fpir: float, comparisons: int) -> Threshold:
    """The threshold for `fpir`; below what the calibration supports, its highest.

    A warning decides nothing, so that it need not be silent where a decision would have to be refused: the highest
    threshold comes with the `fpir` that is expected there, which is above the one asked for.
    """
    try:
        return search_threshold(calibration, fpir, comparisons)
    except CalibrationError:
        highest = calibration.threshold_at(calibration.floor)
        return replace(highest, fpir=expected_fpir(highest.fmr_grid, comparisons), templates=comparisons)
