"""Find a known model file: a folder of the user's, a package, the cache, a download. Always by its digest."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from pathlib import Path

from vultus.errors import VultusError
from vultus.files import MOST_WEIGHTS, check_file, is_file, is_folder, open_file, read_file, save_atomically, writing
from vultus.formats import read_text
from vultus.zoo.download import digest_note, download, sha256_of
from vultus.zoo.entry import ModelFile
from vultus.zoo.table import model_file

CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".safetensors")
"""What files of weights are called, which become a network with torch's help."""


MOST_NOTE = 4096
"""Bytes of the note of a digest."""


class NotHere(VultusError):
    """A known file that would have to be downloaded."""


def models_home() -> Path:
    """Where downloads are kept: `VULTUS_HOME`, or `vultus` in the user's cache folder."""
    if home := os.environ.get("VULTUS_HOME"):
        return Path(home) / "models"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vultus" / "models"


def models_folder(models_dir: str | Path | None = None) -> Path | None:
    """The folder of the user's own files: `models_dir`, else `VULTUS_MODELS`. Raises `VultusError` if it is absent."""
    folder = models_dir or os.environ.get("VULTUS_MODELS")
    if folder and not is_folder(folder):
        raise VultusError(f"models folder {folder} does not exist; correct --models or VULTUS_MODELS")
    return Path(folder) if folder else None


def find_file(entry: ModelFile, models_dir: str | Path | None = None, *, download: bool = True) -> Path:
    """Path of the file of `entry`, its sha256 checked.

    Looked for in `models_dir` (`--models`), else `VULTUS_MODELS`; then in the installed package that carries it; then
    in the cache; then downloaded there. Where no digest was published, that of the first download holds.

    Raises:
        VultusError: not to be had, or a file of the right name with other bytes.
    """
    if (folder := models_folder(models_dir)) is not None:
        for candidate in sorted(folder.rglob(entry.file)):
            return _checked(candidate, entry)
    if (packaged := _in_package(entry)) is not None:
        return _checked(packaged, entry)
    cached = models_home() / entry.file
    if cached.is_file():
        return _checked(cached, entry)
    if not download:
        raise NotHere(f"{entry.name}: {entry.file} is not on this machine")
    return fetch_file(entry)


def fetch_file(entry: ModelFile, folder: str | Path | None = None) -> Path:
    """The file of `entry` in `folder` (default: the cache): there already, copied from this machine, or downloaded.

    Raises:
        VultusError: as `find_file`.
    """
    target = (Path(folder) if folder else models_home()) / entry.file
    if target.is_file():
        return _checked(target, entry)
    if folder:
        with contextlib.suppress(NotHere):
            here = find_file(entry, download=False)
            with open_file(here) as source, writing(target) as file:
                shutil.copyfileobj(source, file)
            if digest_note(here).is_file():
                save_atomically(read_file(digest_note(here), MOST_NOTE), digest_note(target))
            return target
    return download(entry, target)


def _in_package(entry: ModelFile) -> Path | None:
    if entry.package is None:
        return None
    package, inside = entry.package
    spec = importlib.util.find_spec(package)  # does not import the package
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / inside
    return path if path.is_file() else None


def _checked(path: Path, entry: ModelFile) -> Path:
    expected, whose = entry.sha256, f"the published {entry.name} file"
    if expected is None and (note := digest_note(path)).is_file():
        expected, whose = read_text(note, MOST_NOTE).split(" ")[0].strip(), f"the {entry.name} file first downloaded"
    if expected is not None and (found := sha256_of(path)) != expected:
        raise VultusError(
            f"{path} is not {whose} (sha256 {found[:12]}…, expected {expected[:12]}…); "
            "delete it and it will be fetched again"
        )
    return path


def locate_model(where: str | Path, models_dir: str | Path | None = None) -> tuple[Path, ModelFile | None]:
    """A model file by its path, or a recogniser of the table by its name, then with its entry.

    Raises:
        VultusError: no such file or name, or a file out of a run directory, whose run knows more than the file.
    """
    path = Path(where)
    whole = is_folder(path)
    run = path if whole else path.parent
    if is_file(run / "run.json") and (whole or path.suffix.lower() in CHECKPOINTS):
        raise VultusError(
            f"{where} is {'a training run' if whole else 'part of a training run'}, which knows more than its "
            f"weights; give the run to finetune or evaluate, or make a file of it: vultus export {run} --out FILE.onnx"
        )
    if is_folder(path):
        raise VultusError(f"{where} is a folder; name a model file, or a name of `vultus models list`")
    if is_file(path) or path.suffix.lower() in (".onnx", *CHECKPOINTS):
        check_file(path, MOST_WEIGHTS, "model file")
        return path, None
    entry = model_file(str(where), "recognizer")
    return find_file(entry, models_dir), entry
