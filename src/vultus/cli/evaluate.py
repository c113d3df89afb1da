"""`vultus evaluate`: evidence about one recogniser."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from vultus.terminal import say, say_json

EXIT = {"PASS": 0, "FAIL": 1, "NOT ENOUGH EVIDENCE": 3}
"""What a script reads of --profile; 2 is a mistake in the command."""


def evaluate(
    model: Annotated[str, typer.Argument(help="A run directory, a name of `vultus models list`, or an .onnx file.")],
    dataset: Annotated[Path, typer.Argument(help="DATA, DATA/SPLIT, or an InsightFace .bin set.")],
    pairs: Annotated[Path | None, typer.Option(help="LFW pairs file or CSV: accuracy over its folds.")] = None,
    quality: Annotated[Path | None, typer.Option(help="With --pairs: a number for each image, as XQLFW's.")] = None,
    templates: Annotated[Path | None, typer.Option(help="Folder of a protocol in the layout of IJB-B and -C.")] = None,
    pooling: Annotated[str | None, typer.Option(help="With --templates: as N1D1F0.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html and figures.json.")] = None,
    max_per_identity: Annotated[int | None, typer.Option(help="Only the first images of each identity.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Write thresholds by error rate here (JSON).")] = None,
    source: Annotated[str | None, typer.Option(help="The data in words, kept in the calibration.")] = None,
    models_dir: Annotated[str | None, typer.Option("--models", help="Folder with model files.")] = None,
    against: Annotated[str | None, typer.Option(help="An earlier recogniser whose gallery must stay usable.")] = None,
    profile: Annotated[str | None, typer.Option(help="Good enough? A name of `vultus profiles`, or a TOML.")] = None,
    groups: Annotated[str | None, typer.Option(help="Rates by group: a column of DATA, or a CSV.")] = None,
    show_unsupported: Annotated[
        bool,
        typer.Option("--show-unsupported", help="Also rates that the data cannot support, to compare with papers."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")] = False,
) -> None:
    """Measure a recogniser: error rates with intervals, 1:1 and 1:N, by profile, condition and group.

    With --profile the exit code is 0 for PASS, 1 for FAIL, 3 for NOT ENOUGH EVIDENCE (2: a mistake in the command).
    """
    from vultus.cli.figures import show_evaluation
    from vultus.workflows import Evaluation
    from vultus.workflows import evaluate as run_evaluation

    result = run_evaluation(
        model,
        dataset,
        pairs=pairs,
        out=out,
        max_per_identity=max_per_identity,
        calibration=calibration,
        source=source,
        models_dir=models_dir,
        against=against,
        profile=profile,
        groups=groups,
        quality=quality,
        templates=templates,
        pooling=pooling,
        show_unsupported=show_unsupported,
        command=shlex.join(["vultus", *sys.argv[1:]]),
    )
    if as_json:
        say_json(result.to_dict())
    else:
        show_evaluation(result)
        if out is not None and not isinstance(result, Evaluation):
            say(f"report: {out / 'report.html'}")
    if isinstance(result, Evaluation) and result.judgement is not None:
        raise typer.Exit(EXIT[result.judgement.answer])
