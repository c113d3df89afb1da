"""`vultus compare`: losses under one budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    recipes: Annotated[
        list[str], typer.Argument(help="YAML recipes that differ in the loss; key=value overrides them all.")
    ],
    data: Annotated[Path, typer.Option(help="DATA with the splits train and test (and val).")],
    seeds: Annotated[int, typer.Option(help="Trainings of each recipe.", min=1)] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the runs, the figures and report.html.")] = Path("runs/compare"),
    baseline: Annotated[
        str | None, typer.Option(help="Recipe that the others are compared with.", show_default="the simplest loss")
    ] = None,
    max_per_identity: Annotated[int, typer.Option(help="Only the first test images of each identity.", min=2)] = 10,
    different: Annotated[
        bool, typer.Option("--different", help="Take recipes that differ in more than the loss, and say so.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Train nothing: report what has finished.")] = False,
) -> None:
    """Train each recipe with each seed under one budget, and compare them on the same test comparisons."""
    from vultus.terminal import say, stoppable, table
    from vultus.workflows.compare import compare as run_comparison
    from vultus.workflows.compare_report import (
        COSTS,
        cautions,
        cost_rows,
        difference_columns,
        difference_rows,
        rate_columns,
        rate_rows,
        verdict,
    )

    with stoppable(f"the same command goes on from here, all that is done stays in {out}"):
        result = run_comparison(
            [word for word in recipes if "=" not in word],
            data,
            seeds=seeds,
            out=out,
            overrides=[word for word in recipes if "=" in word],
            baseline=baseline,
            max_per_identity=max_per_identity,
            different=different,
            training=not report,
        )
    (images, people), notes = result.test_counts, cautions(result)
    about = f"{result.test}: {images:,} images of {people:,} identities, {result.non_mated:,} non-mated pairs"
    withheld = [f"FAR {far:g} is withheld: it needs {needs:,}." for far, needs in result.withheld.items()]
    mean = f"mean of {result.seeds} seeds" if result.seeds > 1 else "one seed"
    table(f"TAR in percent on {result.test}, {mean}", rate_columns(result), rate_rows(result), [about, *withheld])
    table(
        f"Difference to {result.baseline} in points, on the same comparisons",
        difference_columns(result),
        difference_rows(result),
        ["* the 95 % interval, over people and seeds, excludes 0.", verdict(result), *notes],
    )
    table("What training cost", COSTS, cost_rows(result))
    for run, reason in result.failures:
        say(f"not in the figures: {run}: {reason}")
    if result.failures:
        say(f"a failed run is tried again once its folder in {result.folder / 'runs'} is deleted")
    say(f"report: {result.folder / 'report.html'}")
