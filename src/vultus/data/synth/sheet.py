"""Many crops on one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_GAP = 2
_PAPER = 245


def contact_sheet(crops: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Lay crops out in rows of `columns`, thin gaps between.

    Args:
        crops: uint8 RGB images, (H, W, 3), all of one size; none is fine.
        columns: crops in a row, at least 1.

    Returns:
        uint8 RGB; the last row may be short.

    Raises:
        ValueError: if `columns` is below 1 or the crops differ in size.
    """
    if columns < 1:
        raise ValueError(f"a contact sheet needs at least 1 column, not {columns}")
    if not crops:
        return np.full((_GAP, _GAP, 3), _PAPER, np.uint8)
    if len({crop.shape for crop in crops}) > 1:
        raise ValueError("the crops of a contact sheet must be of one size")
    height, width = crops[0].shape[:2]
    columns = min(columns, len(crops))
    rows = -(-len(crops) // columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _PAPER, np.uint8)
    for index, crop in enumerate(crops):
        top = _GAP + (index // columns) * (height + _GAP)
        left = _GAP + (index % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = crop
    return sheet
