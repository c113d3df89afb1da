"""Scores to evidence: arrays in, figures out. matplotlib and jinja2 load when a figure or a report is made."""

from vultus.evaluation.baselines import WhitenedPCA, mean_colour
from vultus.evaluation.breakdown import discard, edc, group_rates
from vultus.evaluation.calibration import Calibration, CalibrationPoint, Threshold, calibrate
from vultus.evaluation.intervals import IdentityBootstrap, Interval, Rate, compare_paired, wilson
from vultus.evaluation.profiles import judge, list_profiles, load_profile
from vultus.evaluation.protocols.cross import verify_cross
from vultus.evaluation.protocols.fpir_growth import fpir_growth
from vultus.evaluation.protocols.identification import identify
from vultus.evaluation.protocols.kfold import KFold, kfold_accuracy
from vultus.evaluation.protocols.official_lists import parse_pairs
from vultus.evaluation.protocols.open_set import open_set
from vultus.evaluation.protocols.pair_lists import Pairs, parse_lfw_pairs, parse_pairs_csv
from vultus.evaluation.protocols.verification import (
    FARS,
    OperatingPoint,
    Verification,
    verify,
    verify_all_pairs,
    verify_scores,
)
from vultus.evaluation.protocols.verification_sets import read_verification_set
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
from vultus.evaluation.scores import PairScores, ScoredPair, all_pairs
from vultus.evaluation.selection import cap_per_identity

__all__ = [
    "FARS",
    "IdentityBootstrap",
    "Interval",
    "PairScores",
    "Rate",
    "all_pairs",
    "compare_paired",
    "discard",
    "edc",
    "fpir_growth",
    "group_rates",
    "identify",
    "judge",
    "list_profiles",
    "load_profile",
    "open_set",
    "read_verification_set",
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
