"""Where the key-encryption key comes from, and that it never shows itself."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

import pytest

from vultus.gallery.protection import (
    KeyEncryptionKey,
    ProtectionError,
    default_key_path,
    encode_key,
    keys,
    load_key,
    make_default_key,
)

SECRET = bytes(range(32))
TEXT = encode_key(SECRET)
ID = KeyEncryptionKey(SECRET).id
GALLERY = "8a9c2e0e-5d3f-4a51-9c55-3d3f3f1f0a11"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(keys.VARIABLE, raising=False)
    return tmp_path


def key_file(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_wrapped_key_opens_only_with_its_key_and_for_what_it_is_bound_to() -> None:
    key = KeyEncryptionKey.generate()
    wrapped = key.wrap(SECRET, b"person 1")
    assert key.unwrap(wrapped, b"person 1") == SECRET
    assert SECRET not in wrapped and len(wrapped) == 12 + 32 + 16
    with pytest.raises(ProtectionError, match=f"key {key.id} does not open this gallery"):
        key.unwrap(wrapped, b"person 2")
    with pytest.raises(ProtectionError, match="does not open this gallery"):
        KeyEncryptionKey.generate().unwrap(wrapped, b"person 1")
    for broken in (b"", wrapped[:-1], wrapped + b"x", bytes([wrapped[0] ^ 1]) + wrapped[1:]):
        with pytest.raises(ProtectionError):
            key.unwrap(broken, b"person 1")


def test_a_key_is_named_by_an_id_that_stays_and_never_shows_its_secret() -> None:
    key = KeyEncryptionKey(SECRET)
    assert key.id == KeyEncryptionKey(SECRET).id != KeyEncryptionKey.generate().id
    assert len(key.id) == 16 and int(key.id, 16) >= 0
    assert key.id in repr(key) and SECRET.hex() not in repr(key) and TEXT not in repr(key)
    assert key.id not in SECRET.hex() and key.encoded == TEXT


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), "x" * 32])
def test_only_32_bytes_are_a_key(secret: bytes) -> None:
    with pytest.raises(ProtectionError, match="32 bytes"):
        KeyEncryptionKey(secret)


def test_from_a_variable_a_file_or_a_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(home / "a key", f"{TEXT}\n")
    monkeypatch.setenv("MY_KEY", TEXT)
    program = shlex.join([sys.executable, "-c", f"print('{TEXT}')"])
    for spec in ("env:MY_KEY", f"file:{path}", f"command:{program}", f"command:cat {shlex.quote(str(path))}"):
        assert load_key(spec, GALLERY).id == ID
        monkeypatch.setenv(keys.VARIABLE, spec)
        assert load_key(None, GALLERY).id == ID


def test_without_a_spec_the_variable_holds_the_key_itself_else_the_default_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, path = make_default_key(GALLERY)
    assert path == default_key_path(GALLERY) == home / "config" / "vultus" / "keys" / f"{GALLERY}.key"
    assert load_key(None, GALLERY).id == made.id
    monkeypatch.setenv(keys.VARIABLE, f" {TEXT}\n")
    assert load_key(None, GALLERY).id == ID


def test_a_default_key_is_the_owners_alone_and_never_overwritten() -> None:
    _, path = make_default_key(GALLERY)
    content = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(ProtectionError, match="already in"):
        make_default_key(GALLERY)
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]
    path.write_text("")  # not even where it holds nothing
    with pytest.raises(ProtectionError, match="already in"):
        make_default_key(GALLERY)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_open_to_others_is_refused_with_the_mend(home: Path, mode: int) -> None:
    path = key_file(home / "k", TEXT, mode)
    with pytest.raises(ProtectionError, match=f"chmod 600 {path}"):
        load_key(f"file:{path}", GALLERY)


@pytest.mark.parametrize("spec", [TEXT, "", "env:", f"env:{TEXT}", "file:", "command:", f"vault:{TEXT}"])
def test_a_spec_that_is_none_is_not_shown_since_it_may_be_the_key(spec: str) -> None:
    with pytest.raises(ProtectionError, match="env:NAME, file:PATH or command:WORDS") as caught:
        load_key(spec, GALLERY)
    assert TEXT not in str(caught.value)


def test_a_gallery_id_is_no_path() -> None:
    for name in ("../x", "a/b", "", ".hidden"):
        with pytest.raises(ValueError, match="gallery id"):
            default_key_path(name)


def failure(spec: str | None) -> str:
    with pytest.raises(ProtectionError) as caught:
        load_key(spec, GALLERY)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_errors_name_the_source_and_the_mend(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(default_key_path(GALLERY)) in failure(None) and keys.VARIABLE in failure(None)
    assert "variable NOT_SET is not set" in failure("env:NOT_SET")
    assert "No such file" in failure(f"file:{home}/none") and f"{home}/none" in failure(f"file:{home}/none")
    assert "Is a directory" in failure(f"file:{home}")
    assert "does-not-exist" in failure("command:does-not-exist")
    assert "exit code 1" in failure("command:false")
    assert "close its quotes" in failure("command:cat 'x")
    monkeypatch.setattr(keys, "COMMAND_SECONDS", 0.2)
    assert "sleep gave no key within" in failure("command:sleep 60")


@pytest.mark.parametrize("text", ["", "secret-that-is-short", TEXT[:-4], TEXT + TEXT, "é" * 44, "A" * 10_000])
def test_what_is_no_key_is_not_shown(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = key_file(home / "k", text)
    monkeypatch.setenv("MY_KEY", text or " ")
    for spec in (f"file:{path}", "env:MY_KEY", f"command:cat {path}"):
        message = failure(spec)
        assert "base64 of 32 bytes" in message and (not text or text not in message)


def test_a_commands_words_and_its_error_output_are_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('hush', file=sys.stderr); sys.exit(3)"
    message = failure(f"command:{shlex.join([sys.executable, '-c', code, 'hidden'])}")
    assert "exit code 3" in message and "hush" not in message and "hidden" not in message
    assert "hush" not in "".join(capfd.readouterr())


def test_a_command_is_run_without_a_shell(home: Path) -> None:
    failure(f"command:echo {TEXT} > {home}/made")
    failure(f"command:true; touch {home}/made")
    assert not os.path.exists(home / "made")
