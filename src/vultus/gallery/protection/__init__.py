"""Keys, sealed texts and files, rotation of embeddings, erasure receipts: small objects, no database."""

from vultus.gallery.protection.envelope import DataKey
from vultus.gallery.protection.errors import ProtectionError
from vultus.gallery.protection.keys import KeyEncryptionKey, default_key_path, encode_key, load_key, make_default_key
from vultus.gallery.protection.receipts import Receipt, SigningKey
from vultus.gallery.protection.rotation import Rotation
from vultus.gallery.protection.sealed_file import SealedFileError, read_header, read_sealed, write_sealed
from vultus.gallery.protection.seals import RowSeals, Tally

__all__ = [
    "DataKey",
    "KeyEncryptionKey",
    "ProtectionError",
    "Receipt",
    "Rotation",
    "RowSeals",
    "SealedFileError",
    "SigningKey",
    "Tally",
    "default_key_path",
    "encode_key",
    "load_key",
    "make_default_key",
    "read_header",
    "read_sealed",
    "write_sealed",
]
