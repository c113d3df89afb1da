"""A signed statement that a person was erased."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass, fields

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vultus.gallery.protection.canonical import spell
from vultus.gallery.protection.derive import check_key
from vultus.gallery.protection.errors import ProtectionError

FORMAT = "vultus erasure receipt 1"
STATEMENT = (
    "Destroyed: the person's data key, with which their templates and crops were encrypted; the rows that "
    "held them; their entries in the search index; the key of the index snapshots they were part of. "
    "Beyond reach: backups made before the erasure that can be opened with a key from before it, until they are "
    "restored (restoring repeats the erasure) or deleted; exports, photographs and copies kept outside this gallery."
)
"""What is said unless the caller knows more."""


class SigningKey:
    """Ed25519 (RFC 8032)."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def new(cls) -> SigningKey:
        """A key from the operating system's generator."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_private(cls, private: bytes) -> SigningKey:
        """`private`: the 32 bytes that `private` gave."""
        return cls(Ed25519PrivateKey.from_private_bytes(check_key(private, "a signing key")))

    @property
    def private(self) -> bytes:
        """32 bytes; a secret, to be stored wrapped."""
        return self._private.private_bytes_raw()

    @property
    def public(self) -> str:
        """Base64 of 32 bytes; to be given to whoever shall check receipts."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode("ascii")

    def sign(self, message: bytes) -> str:
        """Base64 of the 64-byte signature."""
        return base64.b64encode(self._private.sign(message)).decode("ascii")

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public!r})"


@dataclass(frozen=True)
class Receipt:
    """Who was erased when, and what that means; names nobody: the person is an opaque identifier."""

    format: str
    gallery_id: str
    collection_id: str
    person_uuid: str
    erased_at: str
    """UTC, ISO 8601."""
    templates: int
    """How many were destroyed."""
    crops: int
    """How many were destroyed."""
    reason: str
    statement: str
    """What was destroyed, and what lies beyond the gallery's reach."""
    audit_seq: int
    """The entry of the audit log that records the erasure."""
    public_key: str
    """Base64 of the Ed25519 key that checks the signature."""
    signature: str
    """Base64, over the canonical JSON of everything else."""

    @classmethod
    def sign(
        cls,
        key: SigningKey,
        *,
        gallery_id: str,
        collection_id: str,
        person_uuid: str,
        erased_at: str,
        templates: int,
        crops: int,
        reason: str,
        audit_seq: int,
        statement: str = STATEMENT,
    ) -> Receipt:
        """A receipt signed with the gallery's key."""
        content = {
            "format": FORMAT,
            "gallery_id": gallery_id,
            "collection_id": collection_id,
            "person_uuid": person_uuid,
            "erased_at": erased_at,
            "templates": templates,
            "crops": crops,
            "reason": reason,
            "statement": statement,
            "audit_seq": audit_seq,
            "public_key": key.public,
        }
        return cls(**content, signature=key.sign(spell(content)))

    def to_json(self) -> str:
        """One line of canonical JSON."""
        return spell(asdict(self)).decode("ascii")

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """The receipt in a JSON text; not verified yet. `ProtectionError` if it is none."""
        try:
            content = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            raise ProtectionError("this is no erasure receipt: not JSON; give the file as it was issued") from None
        kinds = {field.name: int if field.type == "int" else str for field in fields(cls)}
        if (
            not isinstance(content, dict)
            or content.keys() != kinds.keys()
            or any(type(content[name]) is not kind for name, kind in kinds.items())
        ):
            raise ProtectionError(
                f"this is no erasure receipt: it must hold exactly {', '.join(kinds)}; give the file as it was issued"
            )
        return cls(**content)

    def verify(self, public_key: str | None = None) -> None:
        """`ProtectionError` unless the signature fits every other field.

        `public_key`: the gallery's, known from elsewhere. Without it the receipt is checked against the key that it
        names itself, which shows that it was not changed but not who signed it.
        """
        if self.format != FORMAT:
            raise ProtectionError(f"a receipt of an unknown format; this version reads {FORMAT!r}")
        if public_key is not None and public_key.strip() != self.public_key:
            raise ProtectionError(
                "the receipt was signed with another key than the one given; it is of another gallery"
            )
        content = asdict(self)
        signature = content.pop("signature")
        if not is_signed(self.public_key, spell(content), signature):
            raise ProtectionError("the receipt was changed after it was signed; ask for it again")


def is_signed(public_key: str, message: bytes, signature: str) -> bool:
    """Whether `SigningKey.sign` of the key with this public key (base64) gave this signature of the message."""
    try:
        Ed25519PublicKey.from_public_bytes(_decoded(public_key)).verify(_decoded(signature), message)
        return True
    except (InvalidSignature, ValueError):
        return False


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key twice")
    return content


def _decoded(text: str) -> bytes:
    """Base64 in its one spelling; nothing otherwise, since a decoder overlooks bits of the last digit."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return content if base64.b64encode(content).decode("ascii") == text else b""
