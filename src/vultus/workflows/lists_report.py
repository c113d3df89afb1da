"""report.html and figures.json of a published list of pairs, an InsightFace set, or a template protocol."""

from __future__ import annotations

from pathlib import Path

import vultus
from vultus.evaluation.report.page import Chapter, Facts, Section, Table, Text, write_report
from vultus.evaluation.report.verification import baseline_sections, percent, summary, verification_sections
from vultus.workflows.results import PairsEvaluation, write_figures
from vultus.workflows.templates import TemplatesEvaluation


def write_list_report(folder: Path, result: PairsEvaluation | TemplatesEvaluation, command: str = "") -> Path:
    """Write both files into `folder`; returns the path of the report."""
    sections: list[Section] = [Text(summary(result.verification)), *(Text(note, kind="note") for note in result.notes)]
    sections += _folds(result) if isinstance(result, PairsEvaluation) else _templates(result)
    sections += [Chapter("Verification", "The same comparisons at every threshold.")]
    sections += verification_sections(result.verification, "")
    if isinstance(result, PairsEvaluation):
        everybody = {result.model: result, **result.baselines}
        accuracies = {name: f"{found.kfold}" for name, found in everybody.items()}
        sections += baseline_sections({name: found.verification for name, found in everybody.items()}, accuracies)
    rows = [("recogniser", result.model), ("data", result.dataset), ("command", command or "called from Python")]
    sections += [Chapter("Provenance"), Table(("", ""), [*rows, ("program", f"vultus {vultus.__version__}")])]
    title = f"{result.model} on {result.dataset}"
    path = write_report(folder / "report.html", title, sections, subtitle="Evidence about a face recogniser")
    write_figures(folder, {**result.to_dict(), "command": command, "vultus": vultus.__version__})
    return path


def _folds(result: PairsEvaluation) -> list[Section]:
    kfold = result.kfold
    low, high = kfold.interval
    detail = f"95 % interval {percent(low, 2)} to {percent(high, 2)}"
    sections: list[Section] = [
        Chapter("Accuracy", "The threshold of each fold is the one that is best on the other folds (LFW, View 2)."),
        Facts([(percent(kfold.mean, 2), f"of {kfold.pairs:,} pairs decided rightly", detail)]),
        Table(
            ("fold", "accuracy", "threshold from the others"),
            [
                (f"{fold}", percent(float(accuracy), 2), f"{threshold:.4f}")
                for fold, (accuracy, threshold) in enumerate(zip(kfold.accuracies, kfold.thresholds, strict=True), 1)
            ],
            note=f"Spread over the folds: {kfold.std:.2%} (standard deviation). It is no confidence interval.",
        ),
    ]
    if result.quality:
        rows = [
            (
                f"{part.low:g} to {part.high:g}",
                f"{part.mated + part.non_mated:,}",
                *(percent(rate, 2) for rate in (1 - part.error.value, part.fnmr.value, part.fmr.value)),
            )
            for part in result.quality
        ]
        columns = ("quality of the worse image", "pairs", "accuracy", "1 - TAR", "FAR")
        note = f"1 - TAR and FAR at the one threshold of FAR {result.quality_far:g} on the whole list."
        sections.append(Table(columns, rows, title="By quality", note=note))
    return sections


def _templates(result: TemplatesEvaluation) -> list[Section]:
    rows = [
        ("protocol", result.protocol),
        ("pooling", result.pooling),
        ("templates", f"{result.templates:,} of {result.images:,} images"),
        ("images without a face", f"{result.missing_images:,}"),
        ("templates without any face", f"{result.empty_templates:,}"),
        ("mated comparisons lost to them, counted as misses", f"{result.lost_mated:,}"),
        ("other comparisons lost to them, counted nowhere", f"{result.lost_non_mated:,}"),
    ]
    return [
        Chapter("Templates", "Several images of a person are joined before they are compared."),
        Table(("", ""), rows),
    ]
