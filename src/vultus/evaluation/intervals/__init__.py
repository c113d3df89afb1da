"""How sure a measured rate is."""

from vultus.evaluation.intervals.wilson import (
    MINIMUM_ERRORS,
    Interval,
    allowed_errors,
    is_supported,
    needed_comparisons,
    wilson,
)

__all__ = ["MINIMUM_ERRORS", "Interval", "allowed_errors", "is_supported", "needed_comparisons", "wilson"]
