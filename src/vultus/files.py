"""Files: read within bounds, written whole or not at all, and working folders that outlive nobody."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from vultus.errors import FileError, VultusError

try:
    import fcntl
except ImportError:  # Windows has no such locks; leftovers stay there until somebody deletes them
    fcntl = None

WORK, PART = ".vultus-work", ".part"
"""How working folders and unfinished files end; they begin with a dot."""

_FAULTS = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RecursionError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
"""What a parser raises for a file that it did not expect; ValueError holds Unicode and JSON errors."""


def open_file(path: str | Path, what: str = "the file", error: type[VultusError] = FileError) -> BinaryIO:
    """A regular file, open for reading. `error` for anything else: a device or a FIFO would never end.

    Codes: no_file, not_a_file, unreadable; field: path.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise error(f"{what} {path} does not exist; check the path", code="no_file", path=path) from None
    except OSError as fault:
        why = fault.strerror or "unknown reason"
        raise error(f"{what} {path} cannot be read ({why}); check it", code="unreadable", path=path) from None
    except ValueError:  # NUL in the path
        raise error(f"{what} {str(path)!r}: no file can have this name", code="no_file", path=str(path)) from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise error(f"{what} {path} is {kind}; give a file", code="not_a_file", path=path)
    return os.fdopen(handle, "rb")


def read_file(path: str | Path, most: int, what: str = "the file", error: type[VultusError] = FileError) -> bytes:
    """The content of a regular file of at most `most` bytes; nothing of a larger one is read.

    Codes: those of `open_file`, and too_large; fields: path, most.
    """
    with open_file(path, what, error) as file:
        try:
            content = file.read(most + 1) if os.fstat(file.fileno()).st_size <= most else b""
            size = max(os.fstat(file.fileno()).st_size, len(content))
        except OSError as fault:
            raise error(f"{what} {path} cannot be read ({fault.strerror}); check it", path=path) from None
    if size > most:
        told = f"{what} {path} has {size:,} bytes; at most {most:,} are read, check that it is the right file"
        raise error(told, code="too_large", path=path, most=most)
    return content


@contextmanager
def parsing(path: str | Path, what: str, mend: str, error: type[VultusError] = FileError) -> Iterator[None]:
    """Turn any fault of a parser into one line: "PATH is no WHAT, or it is damaged (…); MEND". Code: malformed."""
    try:
        yield
    except VultusError:
        raise
    except OSError as fault:
        raise error(f"{path} cannot be read ({fault.strerror or fault}); check it", path=path) from None
    except _FAULTS as fault:
        why = " ".join(str(fault).split())[:100] or type(fault).__name__
        told = f"{path} is no {what}, or it is damaged ({why}); {mend}"
        raise error(told, code="malformed", path=path) from None


@contextmanager
def writing(
    path: str | Path,
    *,
    mode: int = 0o644,
    overwrite: bool = True,
    text: bool = False,
    error: type[VultusError] = FileError,
) -> Iterator[IO[Any]]:
    """A file to write to that gets its name when the block ends, whole and on the disk; nothing is left where it fails.

    `mode`: who may read it. Without `overwrite`, never over something that is there. Codes: exists, unwritable.
    """
    path = Path(path)
    if not overwrite and os.path.lexists(path):
        raise _exists(path, error)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-", suffix=PART)
    except (OSError, ValueError) as fault:
        raise _unwritable(path, fault, error) from None
    try:
        with open(handle, "w", encoding="utf-8", newline="") if text else open(handle, "wb") as file:
            yield file
            file.flush()
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        publish(Path(temporary), path, overwrite=overwrite, error=error)
    except OSError as fault:
        raise _unwritable(path, fault, error) from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def save_atomically(content: bytes, path: str | Path, *, mode: int = 0o644, overwrite: bool = True) -> None:
    """Write a file whole or not at all; see `writing`."""
    with writing(path, mode=mode, overwrite=overwrite) as file:
        file.write(content)


def publish(made: Path, path: Path, *, overwrite: bool, error: type[VultusError] = FileError) -> None:
    """Give a finished file or folder its name, for good; without `overwrite` never that of another. Code: exists."""
    if overwrite:
        os.replace(made, path)
    elif made.is_dir():
        if os.path.lexists(path):
            raise _exists(path, error)
        os.rename(made, path)  # fails for anything but an empty folder
    else:
        try:
            os.link(made, path)  # unlike a rename, it never replaces a file
            made.unlink()
        except FileExistsError:
            raise _exists(path, error) from None
        except OSError:  # a file system without hard links: an empty file takes the name first
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                raise _exists(path, error) from None
            os.replace(made, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The names in it, too, survive a power cut."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def working_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder of mode 0700 in `parent` that is gone afterwards.

    It is locked as long as its process lives: one that was killed leaves it unlocked, and `drop_leftovers`, which this
    calls first, deletes it.
    """
    drop_leftovers(parent)
    folder, lock = _owned_folder(parent, name)
    try:
        yield folder
    except OSError as fault:
        raise _unwritable(parent, fault, FileError) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _owned_folder(parent: Path, name: str) -> tuple[Path, int | None]:
    """A new folder with its lock; made again where another process took it for a leftover before it was locked."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name[:100]}-", suffix=WORK))
        except (OSError, ValueError) as fault:
            raise _unwritable(parent, fault, FileError) from None
        lock = _locked(folder)
        if fcntl is None or (lock is not None and folder.exists()):
            return folder, lock
        if lock is not None:
            os.close(lock)


def drop_leftovers(parent: Path) -> list[Path]:
    """Delete the working folders in `parent` whose process is gone; those deleted."""
    gone = []
    with contextlib.suppress(OSError):
        for folder in parent.glob(f".*{WORK}"):
            lock = _locked(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                gone.append(folder)
    return gone


def _locked(folder: Path) -> int | None:
    """The folder's lock, held until it is closed or the process ends; None where another process has it."""
    if fcntl is None:
        return None
    handle = None
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    if handle is not None:
        os.close(handle)
    return None


def _exists(path: Path, error: type[VultusError]) -> VultusError:
    return error(f"{path} is there already; choose another name", code="exists", path=path)


def _unwritable(path: Path, fault: BaseException, error: type[VultusError]) -> VultusError:
    why = (fault.strerror if isinstance(fault, OSError) else None) or "no file can have this name"
    return error(f"cannot write {path}: {why}; make room or choose another path", code="unwritable", path=path)
