"""`vultus`: the commands, and how a mistake is told: one line on stderr, exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vultus import __version__
from vultus.cli import data, gallery, models
from vultus.cli.compare import compare
from vultus.cli.evaluate import evaluate
from vultus.cli.losses import losses
from vultus.cli.profiles import profiles
from vultus.errors import FileError, VultusError
from vultus.terminal import fail, say, say_json, stop_on_sigterm, stoppable


class _Stoppable(TyperGroup):
    """A command that says nothing of its own where it is stopped."""

    def invoke(self, ctx: Any) -> Any:
        with stoppable("whatever is written is whole; the same command may be run again"):
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Stoppable,
    name="vultus",
    help="From photographs to a face recogniser that you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data.app, name="data")
app.add_typer(gallery.app, name="gallery")
app.add_typer(models.app, name="models")
app.command("compare")(compare)
app.command("evaluate")(evaluate)
app.command("losses")(losses)
app.command("profiles")(profiles)

_EXTRAS = {
    "torch": "train",
    "lightning_fabric": "train",
    "timm": "train",
    "omegaconf": "train",
    "tensorboard": "train",
    "datasets": "evaluate",
    "matplotlib": "evaluate",
    "jinja2": "evaluate",
    "openvino": "openvino",
    "nncf": "int8",
    "executorch": "executorch",
    "psycopg": "postgresql",
    "pymilvus": "milvus",
    "safetensors": "train",
    "yaml": "train",
}
"""Which extra installs a module that the base install leaves out."""
_TRAIN = ("compare", "demo", "finetune", "train")
"""Commands that need the extra `train`, whatever they import first."""


def _tell_version(wanted: bool) -> None:
    if wanted:
        say(f"vultus {__version__}")
        raise typer.Exit


@app.callback()
def _vultus(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("runs/demo"),
    minutes: Annotated[float, typer.Option(help="Bound of the training time.", min=0.05)] = 4.0,
    photos: Annotated[Path | None, typer.Option(help="Your own photographs, a folder a person, instead.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of faces, splits and training.", min=0)] = 0,
) -> None:
    """Train, measure, calibrate, enrol and identify, end to end, on procedural faces or your own photographs."""
    from vultus.workflows.demo import run_demo

    with stoppable("the same command goes on from here"):
        run_demo(out, minutes=minutes, photos=photos, seed=seed)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe; with --resume a run directory.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, as optimizer.lr=0.05 run=runs/first.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Train an embedding as a recipe says."""
    from vultus.training import train as train_run

    with stoppable("the run goes on with `vultus train --resume RUN`, if its directory was made already"):
        run = train_run(recipe, overrides or (), resume=resume)
    say(f"run: {run.path} ({run.facts['steps']} steps, {run.facts['identities']} identities)")
    say(f"next: vultus evaluate {run.path} DATA/test --out {run.path}/eval")


@app.command()
def finetune(
    data: Annotated[Path, typer.Argument(help="DATA with the splits train and val, or a split DATA/NAME.")],
    source: Annotated[str, typer.Option("--from", help="A name of `vultus models list`, a file of weights, a run.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, as finetune.freeze=stage2.")] = None,
    run: Annotated[Path | None, typer.Option(help="The run directory to make.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A YAML recipe, as recipes/finetune.yaml.")] = None,
    models_dir: Annotated[str | None, typer.Option("--models", help="Folder with model files.")] = None,
) -> None:
    """Train a recogniser on with your own people, and say whether it helped."""
    from vultus.cli.figures import show_finetuned
    from vultus.workflows.finetune import finetune as finetune_run

    with stoppable("the run goes on with `vultus train --resume RUN`, if its directory was made already"):
        done = finetune_run(data, source, run=run, recipe=recipe, overrides=overrides or (), models_dir=models_dir)
    show_finetuned(done, source)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A run directory, a name of `vultus models list`, or a model file.")],
    out: Annotated[Path, typer.Option(help="File to write: .onnx, .xml (OpenVINO) or .pte (ExecuTorch, phones).")],
    calibrate: Annotated[Path | None, typer.Option(help="Split kept apart, for thresholds by error rate.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the recogniser; the file's name by default.")] = None,
    licence: Annotated[str | None, typer.Option(help="Terms of the weights, kept in the file.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16, bf16 (by OpenVINO) or int8.")] = None,
    calibration_crops: Annotated[Path | None, typer.Option(help="For int8: DATA/train, for value ranges.")] = None,
    check: Annotated[Path | None, typer.Option(help="DATA/val: real pairs to measure on; needed below fp32.")] = None,
    max_loss: Annotated[
        float | None, typer.Option(help="Points of TAR at FAR 1e-3 that a precision may cost.", show_default="0.5")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Add the mirror image's embedding, at twice the cost.")] = False,
    compatible: Annotated[
        str | None, typer.Option(help="insightface, or opencv (cv2.FaceRecognizerSF): a file for that package too.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="What will find faces for it: the shipped calibration on such crops is kept.")
    ] = None,
    models_dir: Annotated[str | None, typer.Option("--models", help="Folder with model files.")] = None,
) -> None:
    """Write a model file that describes itself: contract, licence, provenance, figures, calibration; and its card."""
    from vultus.cli.exported import show_exported
    from vultus.workflows.export import export as export_model

    card = export_model(
        model,
        out,
        calibrate_data=calibrate,
        name=name,
        licence=licence,
        precision=precision,
        calibration_crops=calibration_crops,
        check_data=check,
        max_loss=max_loss,
        flip=flip,
        compatible=compatible,
        detector=detector,
        models_dir=models_dir,
    )
    show_exported(card, out)


_UsageError: Any = typer.BadParameter.__base__
"""What typer raises for words that it does not understand; a class of click, of which typer may hold its own copy."""


def _in_one_line(error: Any) -> VultusError:
    """A missing argument, an unknown option; where no command was given, its help is all that is asked for."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    command = error.ctx.command_path if error.ctx is not None else "vultus"
    told = error.format_message().rstrip(".")
    return VultusError(f"{told}; see `{command} --help`", code="usage", command=command)


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2; a bug keeps its traceback.

    A path that no file can have, a full disk, a file without permission: whatever the system refuses is such a mistake.
    SIGTERM ends a command as Ctrl-C does.
    """
    stop_on_sigterm()
    try:
        try:
            sys.exit(app(standalone_mode=False) or 0)
        except _UsageError as error:
            raise _in_one_line(error) from None
        except OSError as fault:
            place = f": {fault.filename}" if fault.filename else ""
            told = f"{fault.strerror or fault}{place}; check the path, its permissions and the room left"
            raise FileError(told, code="unreadable", path=fault.filename) from None
    except VultusError as error:
        if "--json" in sys.argv:  # whoever asked for JSON reads the code, not the words
            say_json({"error": error.to_dict()})
        fail(error)
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").split(".")[0])
        if extra == "evaluate" and sys.argv[1:2] and sys.argv[1] in _TRAIN:
            extra = "train"  # which holds the other: nobody is sent twice
        if extra is None:
            raise
        fail(f"this needs {error.name}, which the extra {extra!r} installs: uv add 'vultus[{extra}]'")
        sys.exit(2)
