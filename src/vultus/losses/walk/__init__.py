"""The reduction over all other classes, in chunks of classes, by engines that must agree."""

from vultus.losses.walk.plan import ENGINES, Plan, make_plan
from vultus.losses.walk.reduction import CenterUpdate, Negatives, Reduction
from vultus.losses.walk.walk import walk

__all__ = ["ENGINES", "CenterUpdate", "Negatives", "Plan", "Reduction", "make_plan", "walk"]
