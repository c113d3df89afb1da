"""People to decisions: enrol, find again, forget."""

from vultus.gallery.decision import FMR, FPIR, Candidate, Decision, Kind, Verified, explain
from vultus.gallery.draw import draw_decisions
from vultus.gallery.gallery import Enrolled, Gallery, Identified, Skipped
from vultus.gallery.old_index import Index, Snapshot
from vultus.gallery.old_store import PersonInfo, Store, StoreInfo

__all__ = [
    "FMR",
    "FPIR",
    "Candidate",
    "Decision",
    "Enrolled",
    "Gallery",
    "Identified",
    "Index",
    "Kind",
    "PersonInfo",
    "Skipped",
    "Snapshot",
    "Store",
    "StoreInfo",
    "Verified",
    "draw_decisions",
    "explain",
]
