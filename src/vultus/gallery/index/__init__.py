"""Exact search in the process: a view of a collection's change sequence that can be thrown away at any time."""

from vultus.gallery.index.ranking import Hit
from vultus.gallery.index.snapshot import SnapshotError
from vultus.gallery.index.table import Table
from vultus.gallery.index.view import View, checked_probes

__all__ = ["Hit", "SnapshotError", "Table", "View", "checked_probes"]
