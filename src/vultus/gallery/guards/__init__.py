"""May this template be enrolled: does it fit its person's others, and is the person enrolled already?"""

from vultus.gallery.guards.duplicates import Duplicate, duplicate_threshold, find_duplicates
from vultus.gallery.guards.poisoned import Doubtful, Far, doubtful_templates, far_templates, mated_threshold

__all__ = [
    "Doubtful",
    "Duplicate",
    "Far",
    "doubtful_templates",
    "duplicate_threshold",
    "far_templates",
    "find_duplicates",
    "mated_threshold",
]
