"""`vultus data`: build, look at, split, synthesise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vultus.errors import VultusError
from vultus.terminal import say, stoppable, table

app = typer.Typer(help="Datasets of aligned crops.", no_args_is_help=True, rich_markup_mode=None)

SHOWN = 10
"""Skipped photographs named on the terminal; all are in skipped.csv."""


@app.command()
def build(
    photographs: Annotated[Path, typer.Argument(help="A folder with a folder a person, or a CSV path,identity.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    select: Annotated[str, typer.Option(help="Which of several faces: center, largest, all.")] = "center",
    aligned: Annotated[bool, typer.Option("--aligned", help="The pictures are aligned crops already.")] = False,
    detector: Annotated[str, typer.Option(help="A detector of `vultus models list` or a YuNet .onnx file.")] = "yunet",
    models_dir: Annotated[str | None, typer.Option("--models", help="Folder with model files.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core by default.", min=1)] = None,
) -> None:
    """Detect and align the faces of photographs. Interrupted, the same command goes on."""
    from vultus.data import build_dataset

    if select not in ("center", "largest", "all"):
        raise VultusError(f"--select {select}: choose center, largest or all")
    with stoppable("the same command goes on from here"):
        report = build_dataset(
            photographs, out, select=select, aligned=aligned, detector=detector, models_dir=models_dir, workers=workers
        )
    info = report.info
    say(
        f"{out}: {info['images']:,} crops of {info['identities']:,} identities "
        f"({info['identities_with_two_or_more']:,} with two or more) from {report.photographs:,} photographs"
    )
    for path, reason in report.skipped[:SHOWN]:
        say(f"skipped {path}: {reason}")
    if report.skipped:
        say(f"{len(report.skipped)} skipped, all listed in {out / 'skipped.csv'}")


@app.command()
def info(
    dataset: Annotated[Path, typer.Argument(help="DATA or DATA/SPLIT.")],
    sheet: Annotated[Path | None, typer.Option(help="Contact sheet to write; DATA/contact.png by default.")] = None,
) -> None:
    """Counts, sizes, splits, and a contact sheet."""
    from vultus.data import FaceDataset
    from vultus.workflows.contact import write_contact_sheet

    data = FaceDataset.open(dataset)
    path = write_contact_sheet(data, sheet or data.root / (f"contact-{data.name}.png" if data.name else "contact.png"))
    counts = data.counts
    rows = [
        ("images", f"{len(data):,}"),
        ("identities", f"{len(counts):,}"),
        *((f"  with {n} or more images", f"{(counts >= n).sum():,}") for n in (2, 5, 10, 20)),
        ("images an identity", f"median {int(sorted(counts)[len(counts) // 2])}, most {counts.max():,}"),
        ("crop", "{}x{} {}".format(*data.info["crop_size"], data.info["color"])),
        ("size on disk", f"{data.bytes_on_disk / 1e6:,.1f} MB"),
        ("digest", data.digest[:16]),
        ("made", ", ".join(f"{k}={v}" for k, v in data.info["made"].items() if v is not None and k != "crops")),
    ]
    rows += [(f"split {name}", f"{images:,} images") for name, images in data.splits.items()]
    table(data.title, ("", ""), rows, [f"contact sheet: {path}"])


@app.command()
def split(
    dataset: Annotated[Path, typer.Argument(help="DATA.")],
    shares: Annotated[list[str], typer.Argument(help="NAME=SHARE of the identities, as train=0.6 val=0.1.")],
    by: Annotated[str, typer.Option(help="What must not be in two splits: identity.")] = "identity",
    seed: Annotated[int, typer.Option(help="Seed of the draw.", min=0)] = 0,
) -> None:
    """Deal the identities to named splits; crops are not rewritten."""
    from vultus.data import split_dataset

    fractions: dict[str, float] = {}
    for share in shares:
        name, _, value = share.partition("=")
        if name in fractions:
            raise VultusError(f"{name} is given twice")
        try:
            fractions[name] = float(value)
        except ValueError:
            raise VultusError(f"{share!r}: write NAME=SHARE, as train=0.6") from None
    summary = split_dataset(dataset, fractions, seed=seed, by=by)
    rows = [
        (f"{dataset}/{name}", f"{s['images']:,}", f"{s['identities']:,}", f"{s['identities_with_two_or_more']:,}")
        for name, s in summary.items()
    ]
    table("No identity is in two splits", ("split", "images", "identities", "with two or more"), rows)


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    identities: Annotated[int, typer.Option(help="How many invented people.", min=2)] = 200,
    images: Annotated[int, typer.Option(help="Images of each.", min=2)] = 10,
    seed: Annotated[int, typer.Option(help="Seed; the same faces for the same seed.", min=0)] = 0,
) -> None:
    """Procedural faces, for demos and tests. They are no people; figures on them say nothing about real faces."""
    from vultus.workflows import synthesise

    info = synthesise(out, identities=identities, images=images, seed=seed)
    say(f"{out}: {info['images']:,} procedural faces of {info['identities']:,} invented identities")


@app.command()
def shift(
    dataset: Annotated[Path, typer.Argument(help="DATA.")],
    out: Annotated[Path, typer.Option(help="Folder of the changed copy.")],
    how: Annotated[str, typer.Option("--as", help="mask (medical masks) or low-quality (faces of 16 to 32 pixels).")],
    seed: Annotated[int, typer.Option(help="Seed; the same copy for the same seed.", min=0)] = 0,
) -> None:
    """A copy as other conditions would have shown it, with the same splits: to measure and adapt a recogniser there."""
    from vultus.workflows.shift import shift_dataset

    info = shift_dataset(dataset, out, how, seed=seed)
    say(f"{out}: {info['images']:,} crops of {info['identities']:,} identities, changed by {how}")
