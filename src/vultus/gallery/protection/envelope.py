"""One person's data key: what it seals dies with it."""

from __future__ import annotations

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vultus.gallery.protection.derive import KEY_BYTES, check_key, derive
from vultus.gallery.protection.errors import ProtectionError

NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD = NONCE_BYTES + TAG_BYTES
"""Bytes by which a sealed text is longer than the plain one."""


def seal_with(cipher: AESGCM, plain: bytes, bound_to: bytes) -> bytes:
    """nonce (12, random) || ciphertext || tag (16): AES-256-GCM, NIST SP 800-38D; `bound_to` is associated data.

    Random nonces are safe for 2**32 texts under one key (SP 800-38D, §8.3).
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, bound_to)


def open_with(cipher: AESGCM, sealed: bytes, bound_to: bytes) -> bytes | None:
    """The plain text; None where the key, the text or what it is bound to is not the one of the sealing."""
    if len(sealed) < OVERHEAD:
        return None
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except InvalidTag:
        return None


class DataKey:
    """A key of one person: seals their templates and crops; names them in logs; all of it dies with the key.

    Sealing, source digests and the pseudonym use keys of their own, derived from the secret (HKDF-SHA256, RFC 5869).
    """

    __slots__ = ("_cipher", "secret")

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 uniformly random bytes. `ProtectionError` for any other length."""
        self.secret = check_key(secret, "a data key")
        self._cipher = AESGCM(derive(secret, b"vultus data key: seal"))

    @classmethod
    def new(cls) -> DataKey:
        """A key from the operating system's generator."""
        return cls(os.urandom(KEY_BYTES))

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        """nonce (12) || ciphertext || tag (16). `bound_to` names what the text belongs to and is needed to open it."""
        return seal_with(self._cipher, plain, bound_to)

    def open(self, sealed: bytes, bound_to: bytes) -> bytes:
        """The plain text. `ProtectionError` if a bit of it was changed, or it belongs to another key or thing."""
        plain = open_with(self._cipher, sealed, bound_to)
        if plain is None:
            raise ProtectionError(
                "a sealed text does not open: it was changed, or moved from where it belongs; restore it from a backup"
            )
        return plain

    def digest(self, data: bytes) -> str:
        """HMAC-SHA256 in hex. Tells whether the same file comes twice; without the key nobody can test a guess."""
        return hmac.digest(derive(self.secret, b"vultus data key: digest"), data, "sha256").hex()

    @property
    def pseudonym(self) -> str:
        """32 hex digits that name the person in the audit log: nobody can tell whose they were once the key is gone."""
        return derive(self.secret, b"vultus data key: pseudonym", 16).hex()

    def __repr__(self) -> str:
        return "DataKey(…)"
