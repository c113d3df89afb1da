"""`vultus gallery`: enrol people, identify and verify them, list and forget them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vultus.terminal import table

app = typer.Typer(help="Enrolled people and decisions by error rates.", no_args_is_help=True, rich_markup_mode=None)

GalleryFile = Annotated[Path, typer.Option("--gallery", help="The gallery's database file.")]
Models = Annotated[str | None, typer.Option("--models", help="Folder with model files.")]


@app.command()
def enroll(
    name: Annotated[str, typer.Argument(help="The person.")],
    images: Annotated[list[Path], typer.Argument(help="Photographs that show this person alone.")],
    gallery: GalleryFile,
    model: Annotated[str | None, typer.Option(help="Recogniser of a new gallery: a name or an .onnx file.")] = None,
    select: Annotated[str | None, typer.Option(help="If a photograph shows several: largest or center.")] = None,
    models_dir: Models = None,
) -> None:
    """Keep a template of each photograph under a name. All of them or, where one is unfit, none."""
    from vultus.gallery import Gallery

    with Gallery.open(gallery, model=model, models_dir=models_dir) as people:
        added = people.enroll(name, *images, select=select)
        typer.echo(f"{name}: {added.templates} templates added; {people.describe()}")


@app.command()
def identify(
    images: Annotated[list[Path], typer.Argument(help="Photographs with any number of faces.")],
    gallery: GalleryFile,
    fpir: Annotated[float, typer.Option(help="Share of strangers' searches that may name somebody.")] = 0.001,
    draw: Annotated[Path | None, typer.Option(help="Write the annotated photograph here (one image only).")] = None,
    models_dir: Models = None,
) -> None:
    """Say of every face who it is, or that nobody enrolled is like it."""
    from vultus.errors import VultusError
    from vultus.gallery import Gallery, explain
    from vultus.workflows.identify import identify_photographs

    if draw is not None and len(images) != 1:
        raise VultusError(f"--draw takes one photograph, not {len(images)}")
    with Gallery.open(gallery, models_dir=models_dir, create=False) as people:
        results, skipped = identify_photographs(people, images, fpir=fpir, draw=draw)
    threshold = None
    for path, found in results:
        rows = []
        for number, item in enumerate(found, 1):
            decision = item.decision
            threshold = decision.threshold or threshold
            best = decision.candidates[0] if decision.candidates else None
            nearest = f"{best.person} {best.score:.3f}" if best else "nobody enrolled"
            rows.append((number, decision.kind.value, decision.label, nearest, f"{item.face.score:.2f}"))
        table(str(path), ("face", "decision", "who", "nearest", "detector"), rows, [] if rows else ["no face found"])
    if threshold is not None:
        typer.echo(f"threshold: {explain(threshold)}")
    for path, reason in skipped:
        typer.echo(f"skipped {path}: {reason}", err=True)
    if draw is not None and results:
        typer.echo(f"drawn: {draw}")


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="The person that the photograph is claimed to show.")],
    image: Annotated[Path, typer.Argument(help="A photograph.")],
    gallery: GalleryFile,
    fmr: Annotated[float, typer.Option(help="Share of other people that may pass as this one.")] = 0.0001,
    select: Annotated[str | None, typer.Option(help="If the photograph shows several: largest or center.")] = None,
    models_dir: Models = None,
) -> None:
    """Is this photograph of that person? Exit code 0 for a match, 1 for none."""
    from vultus.gallery import Gallery

    with Gallery.open(gallery, models_dir=models_dir, create=False) as people:
        result = people.verify(name, image, fmr=fmr, select=select)
    typer.echo(str(result))
    typer.echo(f"threshold: {result.threshold}")
    raise typer.Exit(0 if result.match else 1)


@app.command("list")
def list_(gallery: GalleryFile) -> None:
    """The enrolled people."""
    from vultus.gallery import Gallery

    with Gallery.open(gallery, create=False) as people:
        rows = [(p.name, p.templates, f"{p.created:%Y-%m-%d %H:%M}") for p in people.persons()]
        table(str(gallery), ("person", "templates", "enrolled (UTC)"), rows, [people.describe()])


@app.command()
def forget(name: Annotated[str, typer.Argument(help="The person.")], gallery: GalleryFile) -> None:
    """Delete a person and every template of theirs, for good."""
    from vultus.gallery import Gallery

    with Gallery.open(gallery, create=False) as people:
        removed = people.forget(name)
    typer.echo(f"{name}: forgotten, {removed} templates deleted")
