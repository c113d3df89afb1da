"""Figures of an evaluation as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vultus.cli.evidence import show_evidence, show_judgement
from vultus.evaluation import OperatingPoint, Verification
from vultus.evaluation.report.verification import baseline_table
from vultus.terminal import say, table
from vultus.workflows import Evaluation, PairsEvaluation
from vultus.workflows.templates import TemplatesEvaluation

if TYPE_CHECKING:
    from vultus.training import Run


POINTS = ("FAR", "TAR", "95 % interval", "threshold", "false matches")


def show_evaluation(result: Evaluation | PairsEvaluation | TemplatesEvaluation) -> None:
    if isinstance(result, PairsEvaluation):
        _show_pairs(result)
        return
    if isinstance(result, TemplatesEvaluation):
        _show_templates(result)
        return
    found = result.verification
    table(
        f"{result.model} on {result.dataset}",
        POINTS,
        point_rows(found),
        [
            f"{found.images:,} images of {found.identities:,} identities: {found.mated:,} mated and "
            f"{found.non_mated:,} non-mated pairs; AUC {found.auc:.5f}, EER {found.eer:.2%}",
            intervals_note(found),
            *result.notes,
        ],
    )
    show_baselines(result.model, {result.model: found, **result.baselines})
    if result.against is not None:
        from vultus.workflows.evaluation_report import COMPATIBILITY, compatibility_rows

        table(
            f"old: {result.against.model}; new: {result.model}",
            COMPATIBILITY,
            compatibility_rows(found, result.against),
            [
                "Compatible (Shen et al. 2020): probes by the new one find the old one's gallery as well as its own "
                "did. Each column has thresholds of its own; the middle one compares each two images twice, which its "
                "intervals take for independent.",
            ],
        )
    if result.evidence is not None:
        show_evidence(result.evidence)
    if result.judgement is not None:
        show_judgement(result.judgement)
    if result.report:
        say(f"report: {result.report}")


def _show_pairs(result: PairsEvaluation) -> None:
    kfold, v = result.kfold, result.verification
    low, high = kfold.interval
    table(
        f"{result.model} on {result.dataset}: accuracy {kfold}",
        POINTS,
        point_rows(v),
        [
            f"95 % interval of the accuracy: {low:.2%} to {high:.2%}; the ± is the spread over the folds, no interval",
            f"thresholds chosen on the other folds: {', '.join(f'{t:.3f}' for t in kfold.thresholds)}",
            f"{v.mated:,} mated and {v.non_mated:,} non-mated pairs; AUC {v.auc:.5f}, EER {v.eer:.2%}",
            *result.notes,
        ],
    )
    accuracies = {name: f"{other.kfold}" for name, other in ((result.model, result), *result.baselines.items())}
    others = {name: other.verification for name, other in result.baselines.items()}
    show_baselines(result.model, {result.model: v, **others}, accuracies)
    if result.quality:
        rows = [
            (
                f"{part.low:g} to {part.high:g}",
                f"{part.mated + part.non_mated:,}",
                f"{1 - part.error.value:.2%}",
                f"{part.fnmr.value:.2%}",
                f"{part.fmr.value:.2%}",
            )
            for part in result.quality
        ]
        title = f"By the quality of the worse image, at the threshold of FAR {result.quality_far:g}"
        table(title, ("quality", "pairs", "accuracy", "1 - TAR", "FAR"), rows)


def _show_templates(result: TemplatesEvaluation) -> None:
    v = result.verification
    table(
        f"{result.model} on {result.protocol} ({result.dataset}), pooling {result.pooling}",
        POINTS,
        point_rows(v),
        [
            f"{result.templates:,} templates of {result.images:,} images: {v.mated:,} mated and {v.non_mated:,} "
            f"non-mated comparisons; AUC {v.auc:.5f}, EER {v.eer:.2%}",
            f"no face in {result.missing_images:,} images; {result.empty_templates:,} templates without any: "
            f"{result.lost_mated:,} mated comparisons lost (misses), {result.lost_non_mated:,} others (not counted)",
            intervals_note(v),
            *result.notes,
        ],
    )


def show_baselines(
    model: str, measured: Mapping[str, Verification], accuracies: Mapping[str, str] | None = None
) -> None:
    """What is a good figure: the same rates of the recognisers beside it, on the same people."""
    if len(measured) < 2:
        return
    columns, rows = baseline_table(measured, accuracies)
    table(f"Beside {model}, on the same people", columns, rows)


def intervals_note(found: Verification) -> str:
    if found.by_identity:
        moves = ", and allow for the choice of the threshold" if found.lets_thresholds_move else ""
        return f"Intervals are over people, not over pairs{moves}."
    return "Whose images these are is unknown: intervals take pairs for independent and are too narrow."


def point_rows(found: Verification) -> list[tuple[str, str, str, str, str]]:
    """A row an operating point; withheld ones say what they would need."""
    rows = []
    for point in found.points:
        if point.tar is None or point.tar_interval is None or point.threshold is None:
            people = f", {point.needs_identities:,} people" if point.needs_identities else ""
            rows.append((f"{point.far:g}", "withheld", f"needs {point.needs:,} pairs{people}", "", ""))
            if point.unsupported is not None:
                rows.append(_point_row(point.unsupported, " unsupported"))
            continue
        rows.append(_point_row(point))
    return rows


def _point_row(point: OperatingPoint, mark: str = "") -> tuple[str, str, str, str, str]:
    low, high = point.tar_interval or (0.0, 1.0)
    tar, interval = f"{point.tar or 0:.2%}{mark}", f"{low:.2%} to {high:.2%}"
    return f"{point.far:g}", tar, interval, f"{point.threshold:.4f}", f"{point.false_matches:,}"


def show_finetuned(run: Run, source: str) -> None:
    """What a fine-tuning came to, and the commands that follow."""
    say(f"run: {run.path} ({run.facts['steps']} steps, {run.facts['identities']} identities)")
    for link in run.facts["ancestry"]:
        if link.get("commercial_use") == "forbidden":
            say(f"commercial use is forbidden by {link['name']}, and so of this run: {link['licence']}")
    data = Path(run.recipe.data.train).parent
    say(f"next: vultus evaluate {run.path} {data}/test --against {source}")
    for name in ("mask", "low-quality"):
        if getattr(run.recipe.augment, name.replace("-", "_")) > 0:
            copy = f"{data}-{name}"
            say(f"      vultus data shift {data} --out {copy} --as {name}")
            say(f"      vultus evaluate {run.path} {copy}/test --against {source}")
    kept = f"--calibrate {data}/calibration --check {data}/test"
    say(f"      vultus export {run.path} {kept} --out {run.path.name}.onnx")
