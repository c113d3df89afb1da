"""`vultus models`: what there is to embed and to train with."""

from __future__ import annotations

from typing import Annotated

import typer

from vultus.terminal import table

app = typer.Typer(help="Published models and trainable backbones.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help="Only names that match, as '*mobile*'.")] = "*",
    backbones: Annotated[bool, typer.Option("--backbones", help="Trainable backbones instead of files.")] = False,
    models_dir: Annotated[str | None, typer.Option("--models", help="Folder with model files.")] = None,
) -> None:
    """Published model files with licence and place; with --backbones what a recipe's model.name can be."""
    if backbones:
        from vultus.models import list_models

        for name in list_models(pattern):
            typer.echo(name)
        return
    from fnmatch import fnmatch

    from vultus.zoo import ZOO, find_file
    from vultus.zoo.locate import NotHere

    rows = []
    for entry in ZOO.values():
        if not fnmatch(entry.name, pattern):
            continue
        try:
            where = str(find_file(entry, models_dir, download=False))
        except NotHere:
            where = "downloaded on first use"
        rows.append((entry.name, entry.kind, entry.about, entry.licence, where))
    for name, kind, about, licence, where in rows:
        typer.echo(f"{name:<10} {kind}\n  {about}\n  licence: {licence}\n  file:    {where}\n")
    if not rows:
        table("No model file matches", ("name",), [(name,) for name in ZOO])
