"""Figures of an evaluation as a table."""

from __future__ import annotations

import typer

from vultus.evaluation import Verification
from vultus.terminal import table
from vultus.workflows import Evaluation, PairsEvaluation


def show_evaluation(result: Evaluation | PairsEvaluation) -> None:
    if isinstance(result, PairsEvaluation):
        typer.echo(f"{result.model} on {result.dataset}: accuracy {result.kfold}")
        low, high = result.kfold.interval
        typer.echo(f"95 % interval of the accuracy over all pairs: {low:.2%} to {high:.2%}")
        typer.echo(f"thresholds chosen on the other folds: {', '.join(f'{t:.3f}' for t in result.kfold.thresholds)}")
        if result.missing:
            typer.echo(f"{result.missing} pairs with an image that is not in the dataset count as 'different'")
        for note in result.notes:
            typer.echo(note)
        return
    found = result.verification
    table(
        f"{result.model} on {result.dataset}",
        ("FAR", "TAR", "95 % interval", "threshold", "false matches"),
        point_rows(found),
        [
            f"{found.images:,} images of {found.identities:,} identities: {found.mated:,} mated and "
            f"{found.non_mated:,} non-mated pairs; AUC {found.auc:.5f}, EER {found.eer:.2%}",
            "Intervals (Wilson) treat pairs as independent; pairs share people, so the truth is wider.",
            *result.notes,
        ],
    )
    if result.report:
        typer.echo(f"report: {result.report}")


def point_rows(found: Verification) -> list[tuple[str, str, str, str, str]]:
    """A row an operating point; withheld ones say what they would need."""
    rows = []
    for point in found.points:
        if point.tar is None or point.tar_interval is None or point.threshold is None:
            rows.append((f"{point.far:g}", "withheld", f"needs {point.needs:,} non-mated pairs", "", ""))
            continue
        low, high = point.tar_interval
        interval = f"{low:.2%} to {high:.2%}"
        rows.append(
            (f"{point.far:g}", f"{point.tar:.2%}", interval, f"{point.threshold:.4f}", f"{point.false_matches:,}")
        )
    return rows
