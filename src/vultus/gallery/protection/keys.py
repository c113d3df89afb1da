"""The one key that is not in the database: from the environment, a file or a command."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vultus.errors import FileError
from vultus.files import save_atomically
from vultus.gallery.protection.derive import KEY_BYTES, check_key, derive
from vultus.gallery.protection.envelope import open_with, seal_with
from vultus.gallery.protection.errors import ProtectionError

VARIABLE = "VULTUS_GALLERY_KEY"
"""Environment variable that holds where the key is, or the key itself in base64."""
COMMAND_SECONDS = 60.0
"""A command that has not answered by then has failed: a person may have to unlock a password store first."""
MOST_BYTES = 4096
"""No key file and no command's answer is longer."""
WHERE = "env:NAME, file:PATH or command:WORDS"
SHAPE = f"base64 of {KEY_BYTES} bytes, as `openssl rand -base64 {KEY_BYTES}` makes"


class KeyEncryptionKey:
    """Wraps the keys that lie in the database; the secret itself never does."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 uniformly random bytes. `ProtectionError` for any other length."""
        self._secret = check_key(secret, "a key-encryption key")
        self._cipher = AESGCM(derive(secret, b"vultus key-encryption key: wrap"))
        self.id: str = derive(secret, b"vultus key-encryption key: id", 8).hex()
        """16 hex digits that tell keys apart and say nothing about the secret; may be stored and printed."""

    @classmethod
    def generate(cls) -> KeyEncryptionKey:
        """A key from the operating system's generator."""
        return cls(os.urandom(KEY_BYTES))

    @property
    def encoded(self) -> str:
        """The secret in base64, to be kept in a file or a secret store."""
        return encode_key(self._secret)

    def for_file(self, purpose: bytes) -> bytes:
        """32 bytes: a key of its own for files that are sealed for `purpose`."""
        return derive(self._secret, b"vultus key-encryption key: file\n" + purpose)

    def for_rows(self, gallery_id: str) -> bytes:
        """32 bytes: the key of the seals of a gallery's rows."""
        return derive(self._secret, b"vultus key-encryption key: rows\n" + gallery_id.encode())

    def wrap(self, key: bytes, bound_to: bytes) -> bytes:
        """nonce (12) || ciphertext || tag (16), AES-256-GCM. `bound_to` names whose key it is."""
        return seal_with(self._cipher, key, bound_to)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """The wrapped key. `ProtectionError` for another key-encryption key, a changed text or another `bound_to`."""
        key = open_with(self._cipher, wrapped, bound_to)
        if key is None:
            raise ProtectionError(
                f"the key {self.id} does not open this gallery; give the key that it was made or last re-keyed with "
                "(if it is that one, a stored key was changed: restore a backup)",
                code="wrong_key",
            )
        return key

    def __repr__(self) -> str:
        return f"KeyEncryptionKey(id={self.id!r})"


def encode_key(secret: bytes) -> str:
    """Base64 of 32 bytes, the text that `load_key` reads."""
    return base64.b64encode(check_key(secret, "a key-encryption key")).decode("ascii")


def default_key_path(gallery_id: str, key_id: str | None = None) -> Path:
    """Where the key of a gallery lies if nothing else is said: $XDG_CONFIG_HOME or ~/.config, vultus/keys/ID.key.

    A key that another was rotated to lies in ID.KEY_ID.key: no rotation overwrites a key that a backup may need.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", gallery_id):
        raise ValueError(f"gallery id {gallery_id!r}: letters, digits, dots and dashes only")
    configured = os.environ.get("XDG_CONFIG_HOME", "")  # relative paths are to be ignored (XDG Base Directory)
    root = Path(configured if configured.startswith("/") else os.path.expanduser("~/.config"))
    return root / "vultus" / "keys" / (f"{gallery_id}.key" if key_id is None else f"{gallery_id}.{key_id}.key")


def load_key(spec: str | None, gallery_id: str, key_id: str | None = None) -> KeyEncryptionKey:
    """The key-encryption key of a gallery.

    `spec` is `env:NAME` (a variable that holds the key), `file:PATH` (a file that only its owner may read), or
    `command:WORDS` (run without a shell; the key is what it prints; its error output is thrown away, since it may hold
    secrets). None looks at the variable VULTUS_GALLERY_KEY, which holds such a text or the key itself, and then at
    `default_key_path`, first for the key `key_id`, if that is known. A key is base64 of 32 bytes; white space around it
    is ignored. A secret mounted readable for everybody, as containers do, is read with `command:cat PATH`: then the
    container is the wall around it.

    `ProtectionError` names where the key was looked for and how to mend it, and never shows what was found there.
    """
    if spec is not None:
        return _from_spec(spec, "--key")
    value = os.environ.get(VARIABLE, "").strip()
    if value:
        if value.startswith(("env:", "file:", "command:")):
            return _from_spec(value, f"${VARIABLE}")
        return _decode(value.encode(errors="replace"), f"${VARIABLE}", also=f"or {WHERE}")
    path = default_key_path(gallery_id)
    try:
        if key_id is not None:
            with contextlib.suppress(FileNotFoundError):
                return _from_file(default_key_path(gallery_id, key_id))
        return _from_file(path)
    except FileNotFoundError:
        raise ProtectionError(
            f"no key for gallery {gallery_id}: {path} does not exist; put its key there or set {VARIABLE} ({WHERE})"
        ) from None


def make_default_key(gallery_id: str, rotated: bool = False) -> tuple[KeyEncryptionKey, Path]:
    """A new key in `default_key_path`, in a folder of mode 0700 and a file of mode 0600, whole or not at all.

    `rotated`: it is not the gallery's first, and its file has its id in the name. A key that is there already is never
    overwritten: `ProtectionError`.
    """
    key = KeyEncryptionKey.generate()
    path = default_key_path(gallery_id, key.id if rotated else None)
    try:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        save_atomically(key.encoded.encode() + b"\n", path, mode=0o600, overwrite=False)
    except FileError as error:
        if error.code == "exists":
            raise ProtectionError(
                f"a key for gallery {gallery_id} is already in {path}; use it or move it away"
            ) from None
        raise _no_key_file(path, str(error)) from None
    except OSError as error:
        raise _no_key_file(path, error.strerror) from None
    return key, path


def _no_key_file(path: Path, why: str | None) -> ProtectionError:
    return ProtectionError(
        f"cannot write the key to {path}: {why}; make one elsewhere and set {VARIABLE} ({WHERE})", code="unwritable"
    )


def _from_spec(spec: str, given_by: str) -> KeyEncryptionKey:
    kind, colon, rest = spec.strip().partition(":")
    if colon and rest:
        if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rest):  # anything else may be the key itself
            value = os.environ.get(rest, "").strip()
            if not value:
                raise ProtectionError(f"the environment variable {rest} is not set; it must hold the key ({SHAPE})")
            return _decode(value.encode(errors="replace"), f"${rest}")
        if kind == "file":
            path = Path(os.path.expanduser(rest))
            try:
                return _from_file(path)
            except FileNotFoundError as error:
                raise ProtectionError(_unreadable(path, error)) from None
        if kind == "command":
            return _from_command(rest)
    # What was given is not shown: it may be the key itself.
    raise ProtectionError(f"{given_by} does not say where the key is; give {WHERE}")


def _from_file(path: Path) -> KeyEncryptionKey:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise ProtectionError(
                    f"the key file {path} is open to others (mode {stat.S_IMODE(mode):04o}); "
                    f"run chmod 600 {shlex.quote(str(path))}"
                )
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ProtectionError(_unreadable(path, error)) from None
    return _decode(content, f"the key file {path}")


def _unreadable(path: Path, error: OSError) -> str:
    return f"cannot read the key file {path}: {error.strerror}; name another with {WHERE}"


def _from_command(words: str) -> KeyEncryptionKey:
    try:
        arguments = shlex.split(words)
    except ValueError:
        arguments = []
    if not arguments:
        raise ProtectionError("the key command cannot be split into words; close its quotes")
    name = f"the key command {arguments[0]}"  # its arguments may be secrets
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProtectionError(f"{name} gave no key within {COMMAND_SECONDS:.0f} s; run it by hand to see why") from None
    except OSError as error:
        raise ProtectionError(f"cannot run {name}: {error.strerror}; name one that exists") from None
    if done.returncode != 0:
        raise ProtectionError(f"{name} failed with exit code {done.returncode}; run it by hand to see why")
    return _decode(done.stdout, f"the output of {name}")


def _decode(text: bytes, source: str, also: str = "") -> KeyEncryptionKey:
    secret = b""
    if len(text) <= MOST_BYTES:
        with contextlib.suppress(binascii.Error, ValueError):
            secret = base64.b64decode(text.strip(), validate=True)
    if len(secret) != KEY_BYTES:
        raise ProtectionError(f"{source} holds no key; it must be {SHAPE}{', ' if also else ''}{also}")
    return KeyEncryptionKey(secret)
