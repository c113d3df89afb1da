"""Scores that mean something: thresholds by error rate, weights of evidence, and what other people may show."""

from vultus.evaluation.calibration.cllr import cllr, min_cllr
from vultus.evaluation.calibration.crops import CropOrigin
from vultus.evaluation.calibration.likelihood import Likelihood
from vultus.evaluation.calibration.measure import calibrate, calibrate_scores
from vultus.evaluation.calibration.people import People
from vultus.evaluation.calibration.record import Calibration
from vultus.evaluation.calibration.reliability import Reliability
from vultus.evaluation.calibration.thresholds import CalibrationPoint, Threshold, calibration_grid

__all__ = [
    "Calibration",
    "CalibrationPoint",
    "CropOrigin",
    "Likelihood",
    "People",
    "Reliability",
    "Threshold",
    "calibrate",
    "calibrate_scores",
    "calibration_grid",
    "cllr",
    "min_cllr",
]
