"""Scores to evidence: arrays in, figures out. matplotlib and jinja2 load when a figure or a report is made."""

from vultus.evaluation.baselines import WhitenedPCA, mean_colour
from vultus.evaluation.calibration import Calibration, CalibrationPoint, Threshold, calibrate
from vultus.evaluation.intervals import wilson
from vultus.evaluation.protocols.cross import verify_cross
from vultus.evaluation.protocols.kfold import KFold, kfold_accuracy
from vultus.evaluation.protocols.pair_lists import Pairs, parse_lfw_pairs, parse_pairs, parse_pairs_csv
from vultus.evaluation.protocols.verification import (
    FARS,
    OperatingPoint,
    Verification,
    verify,
    verify_all_pairs,
    verify_scores,
)
from vultus.evaluation.report import (
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
from vultus.evaluation.scores import ScoredPair
from vultus.evaluation.selection import cap_per_identity

__all__ = [
    "FARS",
    "Calibration",
    "CalibrationPoint",
    "Decision",
    "Decisions",
    "Facts",
    "Figure",
    "Gallery",
    "KFold",
    "OperatingPoint",
    "Pair",
    "PairGallery",
    "Pairs",
    "ScoredPair",
    "Section",
    "Table",
    "Text",
    "Threshold",
    "Verification",
    "WhitenedPCA",
    "calibrate",
    "cap_per_identity",
    "kfold_accuracy",
    "mean_colour",
    "parse_lfw_pairs",
    "parse_pairs",
    "parse_pairs_csv",
    "percent",
    "verification_sections",
    "verify",
    "verify_all_pairs",
    "verify_cross",
    "verify_scores",
    "wilson",
    "write_report",
]
