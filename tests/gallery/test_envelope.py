"""A person's data key."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.gallery.protection import DataKey, ProtectionError
from vultus.gallery.protection.envelope import OVERHEAD


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=40))
def test_what_is_sealed_opens_and_grows_by_nonce_and_tag(plain: bytes, bound_to: bytes) -> None:
    key = DataKey.new()
    sealed = key.seal(plain, bound_to)
    assert DataKey(key.secret).open(sealed, bound_to) == plain
    assert len(sealed) == len(plain) + OVERHEAD


def test_the_same_text_is_never_sealed_the_same() -> None:
    key = DataKey.new()
    assert len({key.seal(b"text", b"") for _ in range(1000)}) == 1000


def test_any_changed_byte_another_key_and_another_place_are_found() -> None:
    key = DataKey.new()
    sealed = key.seal(b"an embedding", b"template 1")
    for at in range(len(sealed)):
        broken = sealed[:at] + bytes([sealed[at] ^ 0x10]) + sealed[at + 1 :]
        with pytest.raises(ProtectionError, match="does not open"):
            key.open(broken, b"template 1")
    for broken in (b"", sealed[:27], sealed[:-1], sealed + b"\0"):
        with pytest.raises(ProtectionError, match="does not open"):
            key.open(broken, b"template 1")
    with pytest.raises(ProtectionError, match="moved"):
        key.open(sealed, b"template 2")
    with pytest.raises(ProtectionError):
        DataKey.new().open(sealed, b"template 1")


def test_digests_tell_equal_files_of_one_person_and_nothing_without_the_key() -> None:
    key, other = DataKey.new(), DataKey.new()
    assert key.digest(b"file") == DataKey(key.secret).digest(b"file") != key.digest(b"another")
    assert key.digest(b"file") != other.digest(b"file")
    assert key.digest(b"file") != hashlib.sha256(b"file").hexdigest() and len(key.digest(b"")) == 64


def test_a_pseudonym_is_the_keys_own() -> None:
    key = DataKey.new()
    assert key.pseudonym == DataKey(key.secret).pseudonym != DataKey.new().pseudonym
    assert len(key.pseudonym) == 32 and int(key.pseudonym, 16) >= 0
    assert key.pseudonym not in key.secret.hex() and key.secret.hex() not in repr(key)


@pytest.mark.parametrize("secret", [b"", bytes(16), bytes(33)])
def test_only_32_bytes_are_a_key(secret: bytes) -> None:
    with pytest.raises(ProtectionError, match="32 bytes"):
        DataKey(secret)
