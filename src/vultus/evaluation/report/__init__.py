"""Evidence as one page: sections of plain values in, one HTML file out."""

from vultus.evaluation.report.page import (
    Cell,
    Chapter,
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
    Verdict,
    write_report,
)
from vultus.evaluation.report.verification import percent, verification_sections, worst_pairs

__all__ = [
    "Cell",
    "Chapter",
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
    "Verdict",
    "percent",
    "verification_sections",
    "worst_pairs",
    "write_report",
]
