"""Scores that mean something: thresholds by error rate."""

from vultus.evaluation.calibration.thresholds import (
    Calibration,
    CalibrationPoint,
    Threshold,
    calibrate,
    calibration_grid,
)

__all__ = ["Calibration", "CalibrationPoint", "Threshold", "calibrate", "calibration_grid"]
