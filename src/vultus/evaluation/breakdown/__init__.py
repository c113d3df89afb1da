"""One threshold, many parts of the data: groups of people, quality of pictures, pose, size, sharpness."""

from vultus.evaluation.breakdown.cell import MINIMUM_IDENTITIES, Cell
from vultus.evaluation.breakdown.groups import GroupRates, Ratio, group_rates, rates_of, tidy
from vultus.evaluation.breakdown.outcomes import Outcomes, decide

__all__ = [
    "MINIMUM_IDENTITIES",
    "Cell",
    "GroupRates",
    "Outcomes",
    "Ratio",
    "decide",
    "group_rates",
    "rates_of",
    "tidy",
]
