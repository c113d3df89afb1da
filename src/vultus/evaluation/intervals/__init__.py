"""How sure a measured rate is."""

from vultus.evaluation.intervals.bootstrap import IdentityBootstrap, percentile_interval
from vultus.evaluation.intervals.dependence import independent_rate, mated_rate, non_mated_rate
from vultus.evaluation.intervals.rate import Rate
from vultus.evaluation.intervals.wilson import (
    MINIMUM_ERRORS,
    Interval,
    allowed_errors,
    is_supported,
    needed_comparisons,
    wilson,
    wilson_at,
)

__all__ = [
    "MINIMUM_ERRORS",
    "IdentityBootstrap",
    "Interval",
    "Rate",
    "allowed_errors",
    "independent_rate",
    "is_supported",
    "mated_rate",
    "needed_comparisons",
    "non_mated_rate",
    "percentile_interval",
    "wilson",
    "wilson_at",
]
