"""`vultus models`: what there is to embed and to train with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vultus.terminal import say, table

app = typer.Typer(help="Published models and trainable backbones.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help="Only names that match, as '*mobile*'.")] = "*",
    backbones: Annotated[bool, typer.Option("--backbones", help="Trainable backbones instead of files.")] = False,
    models_dir: Annotated[str | None, typer.Option("--models", help="Folder with model files.")] = None,
) -> None:
    """Published model files: commercial use and place; with a name or pattern, all that is known of them."""
    if backbones:
        _list_backbones(pattern)
        return
    from fnmatch import fnmatch

    from vultus.cli.models_list import in_full, in_short
    from vultus.errors import VultusError
    from vultus.zoo import ZOO, models_folder

    models_folder(models_dir)
    entries = [entry for entry in ZOO.values() if fnmatch(entry.name, pattern.lower())]
    if not entries:
        raise VultusError(f"no model file is called {pattern!r}; known: {', '.join(ZOO)}")
    if pattern == "*":
        for line in in_short(entries, models_dir):
            say(line)
        say("", "In full: vultus models list NAME. To have a file before it is needed: vultus models fetch NAME.")
    else:
        for entry in entries:
            say(*in_full(entry, models_dir), "")


COUNTED = 60
"""Backbones whose cost is counted; building timm's thousand takes minutes."""


def _list_backbones(pattern: str) -> None:
    from vultus.models import describe_model, list_models

    names = list_models(pattern)
    ours = [name for name in names if not name.startswith("timm/")]
    counted = names if len(names) <= COUNTED else ours
    rows = []
    for name in counted:
        info = describe_model(name)
        size = "x".join(map(str, info.crop_size))
        rows.append((name, f"{info.parameters / 1e6:.2f}", f"{info.macs / 1e6:,.0f}", size, info.embedding_dim))
    if rows:
        notes = ["MACs: multiply-accumulates of one crop. Parameters include the head for the dimension shown."]
        table("Backbones", ("name", "M params", "M MACs", "crop", "dim"), rows, notes)
    for name in names[len(counted) :] if counted is ours else []:
        say(name)
    if 0 < len(counted) <= 4:
        for name in counted:
            info = describe_model(name)
            say(f"{name}: {info.about}", f"  paper: {info.paper}", f"  weights: {info.licence}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of `vultus models list`.")],
    to: Annotated[str | None, typer.Option("--to", help="Folder to put it in, as for another machine.")] = None,
) -> None:
    """Download a model file, its licence said first; goes on after an interruption."""
    from vultus.cli.models_list import licence_lines
    from vultus.zoo import fetch_file, find_file, model_file

    entry = model_file(name)
    for line in licence_lines(entry):
        say(line)
    say(f"file: {fetch_file(entry, to) if to else find_file(entry)}")


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Weights: .pt, .pth, .ckpt, .safetensors or .onnx.")],
) -> None:
    """What a weights file is: layout, dimensions, how it wants its crops and who says so. Exit code 1 if unusable."""
    from vultus.models.inspect import inspect_file

    found = inspect_file(file)
    facts = [*found.facts, ("problem", found.problem)] if found.problem else found.facts
    width = max(len(name) for name, _ in facts)
    say(str(file))
    for name, text in facts:
        say(f"  {name:<{width}}  {text}")
    if found.problem:
        raise typer.Exit(1)
