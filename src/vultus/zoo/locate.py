"""Find a known model file: a folder of the user's, a package, the cache, a download. Always by its digest."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from vultus.errors import VultusError
from vultus.terminal import track
from vultus.zoo.table import ModelFile

_CHUNK = 1 << 18


class NotHere(VultusError):
    """A known file that would have to be downloaded."""


def models_home() -> Path:
    """Where downloads are kept: `VULTUS_HOME`, or `vultus` in the user's cache folder."""
    if home := os.environ.get("VULTUS_HOME"):
        return Path(home) / "models"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vultus" / "models"


def find_file(entry: ModelFile, models_dir: str | Path | None = None, *, download: bool = True) -> Path:
    """Path of the file of `entry`, its sha256 checked.

    Looked for in `models_dir` (`--models`), else `VULTUS_MODELS`; then in the installed package that carries it; then
    in the cache; then downloaded there.

    Raises:
        VultusError: not to be had, or a file of the right name with other bytes.
    """
    folder = models_dir or os.environ.get("VULTUS_MODELS")
    if folder:
        if not Path(folder).is_dir():
            raise VultusError(f"models folder {folder} does not exist; correct --models or VULTUS_MODELS")
        for candidate in sorted(Path(folder).rglob(entry.file)):
            return _checked(candidate, entry)
    if (packaged := _in_package(entry)) is not None:
        return _checked(packaged, entry)
    cached = models_home() / entry.file
    if cached.is_file():
        return _checked(cached, entry)
    if not download:
        raise NotHere(f"{entry.name}: {entry.file} is not on this machine")
    return _download(entry, cached)


def _in_package(entry: ModelFile) -> Path | None:
    if entry.package is None:
        return None
    package, inside = entry.package
    spec = importlib.util.find_spec(package)  # does not import the package
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / inside
    return path if path.is_file() else None


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(path: Path, entry: ModelFile) -> Path:
    if (found := sha256_of(path)) != entry.sha256:
        raise VultusError(
            f"{path} is not the published {entry.name} file (sha256 {found[:12]}…, expected {entry.sha256[:12]}…); "
            "delete it and it will be fetched again"
        )
    return path


def _download(entry: ModelFile, target: Path) -> Path:
    """Fetch into a temporary file beside the target and rename: never a half-written model."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=entry.file, suffix=".part")
    except OSError as error:
        reason = f"cannot write {target.parent}: {error.strerror}"
        raise VultusError(f"{reason}; set VULTUS_HOME to a folder of yours") from None
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(entry.url, timeout=60) as response:
            size = int(response.headers.get("Content-Length") or 0)
            for chunk in track(_chunks(response), f"download {entry.name}", total=-(-size // _CHUNK) or None):
                file.write(chunk)
        _checked(Path(name), entry)
        os.replace(name, target)
    except (urllib.error.URLError, TimeoutError, ConnectionError, OSError) as error:
        raise VultusError(
            f"{entry.name}: could not download {entry.url} ({error}); install the extra 'bundled' "
            f"(uv add 'vultus[bundled]'), or put {entry.file} in a folder and name it with --models or VULTUS_MODELS"
            if entry.package
            else f"{entry.name}: could not download {entry.url} ({error}); "
            f"put {entry.file} in a folder and name it with --models or VULTUS_MODELS"
        ) from None
    except VultusError as error:
        raise VultusError(f"{entry.name}: the download from {entry.url} is not the published file: {error}") from None
    finally:
        Path(name).unlink(missing_ok=True)
    return target


def _chunks(response) -> Iterator[bytes]:
    while chunk := response.read(_CHUNK):
        yield chunk
