"""What happened in a collection since a position of its change sequence: what every index and engine follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Delta:
    """To follow it: forget everything if `rebuild`; drop `removed_persons` and `removed_templates`; add the rows.

    Rows that are added are active now: a template enrolled and removed since the position appears in neither. Applying
    a delta twice, or one that overlaps the last, gives the same: rows whose template is there already replace it.
    """

    position: int
    """The sequence up to which this tells."""
    rebuild: bool
    """Whether the rows are everything there is, so that whatever was followed before is void."""
    template_ids: np.ndarray
    """(N,) int64, ascending."""
    person_ids: np.ndarray
    """(N,) int64."""
    embeddings: np.ndarray
    """(N, D) float32 unit rows, rotated."""
    removed_templates: np.ndarray
    """int64; their persons may live on."""
    removed_persons: np.ndarray
    """int64; every row of theirs goes, before the new rows come."""
