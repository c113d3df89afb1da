"""report.html of an evaluation: what was measured on what, the standard figures, the training curves."""

from __future__ import annotations

from pathlib import Path

import vultus
from vultus.data import FaceDataset
from vultus.evaluation import Verification
from vultus.evaluation.figures import read_metrics, training_curves
from vultus.evaluation.report import Figure, Section, Table, Text, write_report
from vultus.evaluation.report.verification import verification_sections, worst_pairs
from vultus.workflows.embedder import Embedder
from vultus.workflows.results import Against, Evaluation

CURVES = ("loss", "lr", "grad_norm", "images_per_second", "val_tar", "val_auc")


def write_evaluation_report(folder: Path, result: Evaluation, data: FaceDataset, embedder: Embedder) -> Path:
    """Write `folder`/report.html and return its path."""
    sections = provenance(result)
    if result.against is not None:
        sections.append(compatibility(result.verification, result.against))
    sections += measured(result, data)
    if embedder.run is not None:
        sections += curves(embedder.run)
    return write_report(
        folder / "report.html", f"{result.model} on {result.dataset}", sections, subtitle=f"vultus {vultus.__version__}"
    )


def provenance(result: Evaluation) -> list[Section]:
    """What was measured, on what, and what a reader must not conclude."""
    capped = f"at most {result.max_per_identity} images an identity" if result.max_per_identity else "every image"
    rows = [
        ("recogniser", result.model),
        ("data", f"{result.dataset}, {capped}"),
        ("digest of the data", result.dataset_digest[:16]),
    ]
    sections: list[Section] = [Table(("", ""), rows, title="What was measured")]
    sections += [Text(note, kind="note") for note in result.notes]
    return sections


COMPATIBILITY = ("FAR", "old gallery, old probes", "old gallery, new probes", "new gallery, new probes", "")


def compatibility_rows(new: Verification, against: Against) -> list[tuple[str, ...]]:
    """TAR with its interval at each FAR that the data supports, of the three kinds of comparisons, and the verdict."""
    verdicts, rows = dict(against.verdicts()), []
    for points in zip(against.verification.points, against.cross.points, new.points, strict=True):
        if all(point.tar is None for point in points):
            continue
        cells = [
            f"{p.tar:.2%} ({p.tar_interval[0]:.2%} to {p.tar_interval[1]:.2%})"
            if p.tar is not None and p.tar_interval is not None
            else "withheld"
            for p in points
        ]
        rows.append((f"{points[0].far:g}", *cells, verdicts.get(points[0].far, "")))
    return rows


def compatibility(new: Verification, against: Against) -> Section:
    """Whether what was enrolled with the earlier recogniser can be searched with the new one."""
    return Table(COMPATIBILITY, compatibility_rows(new, against), title=f"Against the earlier {against.model}")


def measured(result: Evaluation, data: FaceDataset) -> list[Section]:
    """The standard part, with the worst pairs as pictures."""
    return [*verification_sections(result.verification), *pictures(result, data)]


def pictures(result: Evaluation, data: FaceDataset) -> list[Section]:
    """The worst pairs."""
    sources = data.sources
    return worst_pairs(result.verification, crops_of=lambda row: data.encoded([row])[0], names=lambda row: sources[row])


def curves(run: Path) -> list[Section]:
    """Training curves of a run, if it wrote any."""
    path = run / "metrics.csv"
    if not path.is_file():
        return []
    columns = read_metrics(path)
    return [Figure(training_curves(columns, only=[c for c in CURVES if c in columns]), title="Training")]
