"""People to decisions: enrol, find again, forget."""

from vultus.gallery.custody import ConsentGiven
from vultus.gallery.decision import FMR, FPIR, Candidate, Decision, Kind, Verified, explain
from vultus.gallery.draw import draw_decisions
from vultus.gallery.enrolment import Enrolled, Lookalike
from vultus.gallery.gallery import Gallery
from vultus.gallery.investigation import Investigation
from vultus.gallery.photographs import BadQuality, Skipped
from vultus.gallery.searching import Identified, Investigated
from vultus.gallery.settings import Settings
from vultus.gallery.store import PersonInfo

__all__ = [
    "FMR",
    "FPIR",
    "BadQuality",
    "Candidate",
    "ConsentGiven",
    "Decision",
    "Enrolled",
    "Gallery",
    "Identified",
    "Investigated",
    "Investigation",
    "Kind",
    "Lookalike",
    "PersonInfo",
    "Settings",
    "Skipped",
    "Verified",
    "draw_decisions",
    "explain",
]
