"""May this template be enrolled: does it fit its person's others, and is the person enrolled already?"""

from vultus.gallery.guards.duplicates import Duplicate, duplicate_threshold, find_duplicates
from vultus.gallery.guards.poisoned import Far, far_templates

__all__ = ["Duplicate", "Far", "duplicate_threshold", "far_templates", "find_duplicates"]
