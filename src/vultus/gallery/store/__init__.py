"""The truth of a gallery: tables, transactions, the change sequence."""

from vultus.gallery.store.collections import DEFAULT, Collection
from vultus.gallery.store.feed import follow
from vultus.gallery.store.persons import Person, PersonInfo
from vultus.gallery.store.store import Key, Store, StoreInfo
from vultus.gallery.store.templates import Sample, TemplateInfo, check_embeddings
from vultus.gallery.store.write import Write

__all__ = [
    "DEFAULT",
    "Collection",
    "Key",
    "Person",
    "PersonInfo",
    "Sample",
    "Store",
    "StoreInfo",
    "TemplateInfo",
    "Write",
    "check_embeddings",
    "follow",
]
