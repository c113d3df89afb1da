"""Files: read within bounds, written whole or not at all, and unfinished work that outlives nobody."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import secrets
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from vultus.errors import FileError, VultusError

try:
    import fcntl
except ImportError:  # Windows has no such locks; leftovers stay there until somebody deletes them
    fcntl = None

WORK, PART = ".vultus-work", ".vultus-part"
"""How working folders and unfinished files end; they begin with a dot, and no other program's do."""

MOST_WEIGHTS = 16 * 2**30
"""Bytes of a file of weights or of a checkpoint."""
_FAULTS = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError, csv.Error, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What a parser raises for a file that it did not expect; ValueError holds Unicode and JSON errors."""


def open_file(path: str | Path, what: str = "the file", error: type[VultusError] = FileError) -> io.BufferedReader:
    """A regular file, open for reading. `error` for anything else: a device or a FIFO would never end.

    Codes: no_file, not_a_file, unreadable; fields: path, and reason, the message without what and path.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise _of_file(error, "no_file", what, path, "does not exist; check the path") from None
    except OSError as fault:
        raise _of_file(error, "unreadable", what, path, f"cannot be read ({fault.strerror}); check it") from None
    except ValueError:  # NUL in the path
        raise _of_file(error, "no_file", what, path, "is no name that a file can have; check the path") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise _of_file(error, "not_a_file", what, path, f"is {kind}; give a file")
    return os.fdopen(handle, "rb")


def read_file(path: str | Path, most: int, what: str = "the file", error: type[VultusError] = FileError) -> bytes:
    """The content of a regular file of at most `most` bytes; nothing of a larger one is read.

    Codes: those of `open_file`, and too_large; fields: path, reason, most.
    """
    with open_file(path, what, error) as file:
        try:
            size_within(file, path, most, what, error)
            content = file.read(most + 1)
        except OSError as fault:
            raise _of_file(error, "unreadable", what, path, f"cannot be read ({fault.strerror}); check it") from None
    if len(content) > most:  # it grew meanwhile, or a file system that tells no size
        raise _too_large(path, len(content), most, what, error)
    return content


def size_within(file: BinaryIO, path: str | Path, most: int, what: str, error: type[VultusError]) -> int:
    size = os.fstat(file.fileno()).st_size
    if size > most:
        raise _too_large(path, size, most, what, error)
    return size


def _too_large(path: str | Path, size: int, most: int, what: str, error: type[VultusError]) -> VultusError:
    reason = f"has {size:,} bytes; at most {most:,} are read, check that it is the right file"
    return _of_file(error, "too_large", what, path, reason, most=most)


def _of_file(
    error: type[VultusError], code: str, what: str, path: str | Path, reason: str, **fields: Any
) -> VultusError:
    """What is wrong with one file; `reason` goes on from its path and is a field, too."""
    return error(f"{what} {path} {reason}", code=code, path=path, reason=reason, **fields)


def check_file(path: str | Path, most: int, what: str = "the file", error: type[VultusError] = FileError) -> int:
    """The size of a regular file, for a library that opens it by its name. Codes: those of `read_file`."""
    with open_file(path, what, error) as file:
        return size_within(file, path, most, what, error)


def is_file(path: str | Path) -> bool:
    """Whether there is a regular file; False, too, where no file can have this name."""
    return os.path.isfile(path)


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; False, too, where no folder can have this name."""
    return os.path.isdir(path)


def refuse_same(output: str | Path | None, *inputs: object) -> None:
    """VultusError, code output_is_input, where `output` is one of the files that are read, by whatever name.

    `inputs` may be names that are no files, or None. To be called before anything is read or written.
    """
    for given in inputs if output is not None else ():
        with contextlib.suppress(OSError, ValueError):  # either is missing, or no file at all
            if isinstance(given, str | Path) and os.path.samefile(str(output), given):
                told = f"{output} would overwrite {given}, which is read; give another path to write to"
                raise VultusError(told, code="output_is_input", path=output)


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

    Where the file system can (Linux, most local ones), it has no name before that, and kill -9 leaves nothing of it;
    elsewhere it leaves a file that `drop_leftovers` deletes.

    `mode`: who may read it. Without `overwrite`, never over something that is there. Codes: exists, not_a_file,
    unwritable.
    """
    path = Path(path)
    _check_target(path, overwrite, error)
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = _started(path)
        with open(handle, "w+", encoding="utf-8", newline="") if text else open(handle, "w+b") as file:
            yield file
            file.flush()
            if hasattr(os, "fchmod"):
                os.fchmod(handle, mode)
            os.fsync(handle)
            if part is None and not overwrite:
                _name(handle, path)
            else:
                if part is None:
                    part = path.with_name(f".{path.name[:100]}-{secrets.token_hex(8)}{PART}")
                    _name(handle, part)
                publish(part, path, overwrite=overwrite, error=error)
    except FileExistsError:
        raise _exists(path, error) from None
    except OSError as fault:
        raise _unwritable(path, fault, error) from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _check_target(path: Path, overwrite: bool, error: type[VultusError]) -> None:
    """Nothing but a file is replaced: a rename onto a device would take its place."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as fault:  # ValueError: NUL in the path
        raise _unwritable(path, fault, error) from None
    if not overwrite:
        raise _exists(path, error)
    if path.exists() and not path.is_file():
        raise error(f"{path} is no regular file; choose another path", code="not_a_file", path=path)


def _started(path: Path) -> tuple[int, Path | None]:
    """A handle, mode 0600, to write to, and its name where it needs one; locked as long as this process lives."""
    folder = path.parent
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # not every file system can
            handle = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            _lock(handle)
            return handle, None
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name[:100]}-", suffix=PART)
        if fcntl is None or (_lock(handle) and os.path.exists(name)):  # nobody took it for a leftover meanwhile
            return handle, Path(name)
        os.close(handle)


def _name(handle: int, path: Path) -> None:
    """Give a file that has none its first name; FileExistsError where that is taken."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(f"/proc/self/fd/{handle}", path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
        os.fsync(folder)
    finally:
        os.close(folder)


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
    """Delete the working folders and unfinished files in `parent` whose process is gone; those deleted."""
    gone = []
    with contextlib.suppress(OSError):
        for path in [*parent.glob(f".*{WORK}"), *parent.glob(f".*{PART}")]:
            lock = _locked(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                os.close(lock)
                gone.append(path)
    return gone


def _locked(path: Path) -> int | None:
    """The lock of a folder or file, held until it is closed or the process ends; None where another process has it."""
    if fcntl is None:
        return None
    handle = None
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if _lock(handle):
            return handle
    if handle is not None:
        os.close(handle)
    return None


def _lock(handle: int) -> bool:
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _exists(path: Path, error: type[VultusError]) -> VultusError:
    return error(f"{path} is there already; choose another name", code="exists", path=path)


def _unwritable(path: Path, fault: BaseException, error: type[VultusError]) -> VultusError:
    why = (fault.strerror if isinstance(fault, OSError) else None) or "no file can have this name"
    return error(f"cannot write {path}: {why}; make room or choose another path", code="unwritable", path=path)
