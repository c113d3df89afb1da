"""Evidence as one page: sections of plain values in, one HTML file out."""

from vultus.evaluation.report.page import (
    Cell,
    Decision,
    Decisions,
    Facts,
    Figure,
    Gallery,
    Pair,
    PairGallery,
    Section,
    Table,
    Text,
    write_report,
)
from vultus.evaluation.report.verification import percent, verification_sections

__all__ = [
    "Cell",
    "Decision",
    "Decisions",
    "Facts",
    "Figure",
    "Gallery",
    "Pair",
    "PairGallery",
    "Section",
    "Table",
    "Text",
    "percent",
    "verification_sections",
    "write_report",
]
