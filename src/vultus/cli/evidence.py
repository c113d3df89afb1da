"""The parts of an evaluation beside the 1:1 rates, as tables on the terminal."""

from __future__ import annotations

from vultus.evaluation.figures import rate_text
from vultus.evaluation.intervals import Interval
from vultus.evaluation.profiles import Judgement
from vultus.evaluation.report.groups import COLUMNS as GROUP_COLUMNS
from vultus.evaluation.report.groups import group_rows
from vultus.evaluation.report.profile import COLUMNS, profile_row
from vultus.terminal import say, table
from vultus.workflows.evidence import Evidence


def show_judgement(judgement: Judgement) -> None:
    """The answer first, then each requirement with what would decide it."""
    say(f"{judgement.profile.title}: {judgement.answer}")
    rows = [["" if cell is None else cell for cell in profile_row(item)] for item in judgement.requirements]
    notes = [f"{item.because} {item.decides}".strip() for item in judgement.requirements]
    table("", COLUMNS, rows, list(dict.fromkeys(notes)))


def show_evidence(evidence: Evidence) -> None:
    """Identification, what the calibration kept, the hardest conditions, groups."""
    if evidence.identification:
        sizes = evidence.identification.sizes
        fpirs = [point.fpir for point in sizes[0].points]
        rows = [
            (
                f"{found.people:,}",
                f"{found.rank_one:.2%}",
                *(
                    f"needs {p.needs:,}" if p.tpir is None else f"{p.tpir:.1%} ({between(p.tpir_interval, 1)})"
                    for p in found.points
                ),
            )
            for found in sizes
        ]
        table(
            "Searching people: found at rank 1, and found (TPIR) when this share of strangers may be named (FPIR)",
            ("enrolled", "rank 1", *(f"FPIR {fpir:.0%}" if fpir >= 0.01 else f"FPIR {fpir:.1%}" for fpir in fpirs)),
            rows,
        )
    if evidence.achieved is not None:
        rows = [
            (
                rate_text(point.promised),
                f"{point.threshold:.4f}",
                f"{point.fmr.value:.2g}",
                f"{point.predicted[0]:.2g} to {point.predicted[1]:.2g}",
                "yes" if point.kept else "NO",
                f"{1 - point.fnmr.value:.2%}",
            )
            for point in evidence.achieved.points
        ]
        table(
            "The recogniser's own thresholds on these people",
            ("promised FAR", "threshold", "achieved", "expected here", "kept", "TAR"),
            rows,
            [
                f"calibrated on {evidence.achieved.source}; Cllr {evidence.achieved.cllr:.3f} bits, "
                f"of which {evidence.achieved.min_cllr:.3f} are the scores' own"
            ],
        )
    if evidence.groups is not None:
        rows = [["" if cell is None else cell for cell in row] for row in group_rows(evidence.groups)]
        table(f"Groups: {evidence.groups.column}, at one threshold", GROUP_COLUMNS, rows)
    for name, reason in evidence.withheld.items():
        say(f"{name}: withheld; {reason}")


def between(interval: Interval | None, digits: int = 2) -> str:
    return "" if interval is None else f"{interval[0]:.{digits}%} to {interval[1]:.{digits}%}"
