"""One threshold, many parts of the data: groups of people, quality of pictures, pose, size, sharpness."""

from vultus.evaluation.breakdown.cell import MINIMUM_PEOPLE, Cell
from vultus.evaluation.breakdown.conditions import Bin, Breakdown, Condition, by_condition
from vultus.evaluation.breakdown.discard import Area, Discard, discard, edc
from vultus.evaluation.breakdown.groups import GroupRates, Ratio, group_rates, rates_of, tidy
from vultus.evaluation.breakdown.outcomes import Outcomes, decide

__all__ = [
    "MINIMUM_PEOPLE",
    "Area",
    "Bin",
    "Breakdown",
    "Cell",
    "Condition",
    "Discard",
    "GroupRates",
    "Outcomes",
    "Ratio",
    "by_condition",
    "decide",
    "discard",
    "edc",
    "group_rates",
    "rates_of",
    "tidy",
]
