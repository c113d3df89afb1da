"""report.html of an evaluation: the answer first, then the evidence, at the end what it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import vultus
from vultus.data import FaceDataset
from vultus.evaluation import Verification
from vultus.evaluation.figures import rate_text, training_curves
from vultus.evaluation.intervals import Difference
from vultus.evaluation.report.calibration import calibration_sections
from vultus.evaluation.report.groups import group_sections
from vultus.evaluation.report.identification import identification_sections
from vultus.evaluation.report.page import Chapter, Figure, Section, Table, Text, write_report
from vultus.evaluation.report.profile import profile_sections
from vultus.evaluation.report.quality import condition_sections, discard_sections
from vultus.evaluation.report.verification import (
    baseline_sections,
    summary,
    verification_sections,
    worst_pairs,
)
from vultus.workflows.embedder import Embedder
from vultus.workflows.evidence import Evidence
from vultus.workflows.results import Against, Evaluation

CURVES = ("loss", "lr", "grad_norm", "images_per_second", "val_tar", "val_auc")
WITHHELD = "Not in this report"


def write_evaluation_report(folder: Path, result: Evaluation, data: FaceDataset, embedder: Embedder) -> Path:
    """Write `folder`/report.html and return its path."""
    v, evidence = result.verification, result.evidence or Evidence()
    sections: list[Section] = [
        Text(summary(v)),
        *(Text(note, kind="note") for note in result.notes),
        *(profile_sections(result.judgement, "") if result.judgement else ()),
        Chapter("Verification", "Two faces are compared: are they the same person? Every pair of the data is."),
        *verification_sections(v, ""),
        *baseline_sections({result.model: v, **result.baselines}),
    ]
    if result.against is not None:
        sections.append(compatibility(v, result.against))
    if evidence.identification is not None:
        lead = "One face is searched among many enrolled people, some of whom it may not be."
        sections.append(Chapter("Identification", lead))
        sections += identification_sections(evidence.identification, evidence.growth)
    if embedder.calibration is not None:
        sections.append(Chapter("Thresholds", "What the recogniser's own file promises, and whether it was kept here."))
        sections += calibration_sections(embedder.calibration, evidence.achieved)
    if evidence.fixed_far is not None and (evidence.conditions or evidence.discards):
        lead = f"Everything here is at one threshold, that of FAR {rate_text(evidence.fixed_far)}."
        sections.append(Chapter("Conditions", lead))
        if evidence.conditions:
            sections += condition_sections(evidence.conditions)
        if evidence.discards:
            sections += discard_sections(evidence.discards)
    if evidence.groups is not None:
        sections.append(Chapter("Groups", "Whether the error rates of one threshold fall on groups of people alike."))
        sections += group_sections(evidence.groups)
    if shown := pictures(result, data):
        sections += [Chapter("Worst pairs", "The comparisons that went most wrong, to look at."), *shown]
    if embedder.run is not None and (trained := curves(embedder.run)):
        sections += [Chapter("Training"), *trained]
    sections += [Chapter("Provenance", "What was measured, with what, and how to do it again."), *provenance(result)]
    if evidence.withheld:
        reasons = "\n".join(f"- {name}: {reason}" for name, reason in evidence.withheld.items())
        sections.append(Text(reasons, title=WITHHELD))
    return write_report(
        folder / "report.html",
        f"{result.model} on {result.dataset}",
        sections,
        subtitle="Evidence about a face recogniser",
    )


def provenance(result: Evaluation) -> list[Section]:
    """What was measured, on what, by which command."""
    capped = f"at most {result.max_per_identity} images an identity" if result.max_per_identity else "every image"
    rows = [
        ("recogniser", result.model),
        ("contract of its embeddings", result.contract_id or "none: a training run"),
        ("data", f"{result.dataset}, {capped}"),
        ("digest of the data (SHA-256)", result.dataset_digest),
        ("command", result.command or "called from Python"),
        ("program", f"vultus {vultus.__version__}"),
        ("resamples of the identities", "up to 1,000, seed 0"),
    ]
    return [Table(("", ""), rows)]


COMPATIBILITY = (
    "FAR",
    "old gallery, old probes",
    "old gallery, new probes",
    "new gallery, new probes",
    "new - old",
    "",
)


def compatibility_rows(new: Verification, against: Against) -> list[tuple[str, ...]]:
    """TAR with its interval at each FAR that the data supports, of the three kinds of comparisons, and the verdict."""
    verdicts, apart = dict(against.verdicts()), {found.far: found for found in against.differences}
    rows = []
    for old, cross in zip(against.verification.points, against.cross.points, strict=True):
        points = (old, cross, new.point(old.far))
        if all(point.tar is None for point in points):
            continue
        cells = [
            f"{p.tar:.2%} ({p.tar_interval[0]:.2%} to {p.tar_interval[1]:.2%})"
            if p.tar is not None and p.tar_interval is not None
            else "withheld"
            for p in points
        ]
        far = points[0].far
        rows.append((f"{far:g}", *cells, _difference(apart.get(far)), verdicts.get(far, "")))
    return rows


def _difference(found: Difference | None) -> str:
    if found is None or found.value is None or found.interval is None:
        return ""
    low, high = found.interval
    return f"{100 * found.value:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"


def compatibility(new: Verification, against: Against) -> Section:
    """Whether what was enrolled with the earlier recogniser can be searched with the new one."""
    return Table(COMPATIBILITY, compatibility_rows(new, against), title=f"Against the earlier {against.model}")


def measured(result: Evaluation, data: FaceDataset) -> list[Section]:
    """The standard part, with the worst pairs as pictures."""
    return [*verification_sections(result.verification), *pictures(result, data)]


def pictures(result: Evaluation, data: FaceDataset) -> list[Section]:
    """The worst pairs."""
    sources = data.sources
    return worst_pairs(
        result.verification,
        crops_of=lambda row: data.encoded([row])[0],
        names=lambda row: sources[row],
        people=data.labels,
    )


def curves(run: Path) -> list[Section]:
    """Training curves of a run, if it wrote any."""
    from vultus.training import open_run

    rows = open_run(run).rows()
    if not rows:
        return []
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}
    return [Figure(training_curves(columns, only=[c for c in CURVES if c in columns]), title="Training")]
