"""Whoever has a gallery open while its key is rotated is told so."""

from __future__ import annotations

import pytest

from vultus.gallery.custody.rekey import rotate_key
from vultus.gallery.protection import KeyEncryptionKey, ProtectionError
from vultus.gallery.store import Store
from vultus.gallery.store.schema import gallery
from vultus.gallery.store.store import bound_to_gallery


def test_others_are_told_of_the_new_key(place):
    key, new = KeyEncryptionKey.generate(), KeyEncryptionKey.generate()
    store = Store.create(place, key)
    other = Store.open(place, key)
    rotate_key(store, new)
    with pytest.raises(ProtectionError) as told, other.reading() as connection:
        sealed = connection.execute(gallery.select()).one().sealed_audit_key
        other.key.unwrap(sealed, bound_to_gallery(other, "audit key"))
    assert told.value.code == "key_rotated"
    with pytest.raises(ProtectionError) as told, other.writing():
        pass
    assert told.value.code == "key_rotated"
    store.close()
    other.close()
