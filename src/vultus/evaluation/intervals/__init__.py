"""How sure a measured rate is."""

from vultus.evaluation.intervals.at_far import fnmr_at_far
from vultus.evaluation.intervals.bootstrap import IdentityBootstrap, percentile_interval
from vultus.evaluation.intervals.dependence import (
    beyond_tail_rate,
    independent_rate,
    mated_rate,
    non_mated_rate,
    people_interval,
)
from vultus.evaluation.intervals.difference import Difference, compare_paired, difference_interval
from vultus.evaluation.intervals.needed import (
    Needed,
    effective_to_exclude,
    identities_to_exclude,
    needed_for,
    rule_of_thirty,
    rule_of_three,
)
from vultus.evaluation.intervals.rate import Rate
from vultus.evaluation.intervals.wilson import (
    MINIMUM_ERRORS,
    Interval,
    allowed_errors,
    is_supported,
    join,
    needed_comparisons,
    wilson,
    wilson_at,
)

__all__ = [
    "MINIMUM_ERRORS",
    "Difference",
    "IdentityBootstrap",
    "Interval",
    "Needed",
    "Rate",
    "allowed_errors",
    "beyond_tail_rate",
    "compare_paired",
    "difference_interval",
    "effective_to_exclude",
    "fnmr_at_far",
    "identities_to_exclude",
    "independent_rate",
    "is_supported",
    "join",
    "mated_rate",
    "needed_comparisons",
    "needed_for",
    "non_mated_rate",
    "people_interval",
    "percentile_interval",
    "rule_of_thirty",
    "rule_of_three",
    "wilson",
    "wilson_at",
]
