"""One secret, many purposes: each purpose has a key of its own, so that no two uses of a secret can meet."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vultus.gallery.protection.errors import ProtectionError

KEY_BYTES = 32
"""Every symmetric key has 256 bits."""


def derive(secret: bytes, purpose: bytes, length: int = KEY_BYTES, salt: bytes | None = None) -> bytes:
    """HKDF with SHA-256 (RFC 5869). `secret`: uniformly random bytes; `purpose` is HKDF's info."""
    return HKDF(SHA256(), length, salt, purpose).derive(secret)


def check_key(secret: bytes, name: str) -> bytes:
    """The same bytes, if they are as many as a key has."""
    if not isinstance(secret, bytes) or len(secret) != KEY_BYTES:
        raise ProtectionError(f"{name} must be {KEY_BYTES} bytes; make one with a cryptographic generator")
    return secret
