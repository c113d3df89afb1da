"""SCRFD's pixels in and outputs out.

Guo, Deng, Lattas, Zafeiriou: "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022
(arXiv:2105.04714). Files with five landmarks ("kps"), of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vultus.faces.decoder import STRIDES

ANCHORS = 2
"""A cell, at the same place; they differ in the size of the faces they answer for."""
_WIDTHS = (1, 4, 10)
"""Numbers an anchor: score, distances of the box's sides, five points."""


class Scrfd:
    """Outputs are known by their shapes, for each export names them otherwise: three score maps, boxes, points."""

    score_threshold = 0.5
    nms_iou = 0.4
    """Both the authors' settings."""

    def __init__(self, outputs: Sequence[str], batch_axis: bool) -> None:
        """outputs: nine names, scores, boxes, points, each for the three strides. batch_axis: (N, A, C), not (A, C)."""
        self.outputs = tuple(outputs)
        self._batch_axis = batch_axis

    @classmethod
    def of(cls, outputs: Mapping[str, Sequence[int | str | None]]) -> Scrfd | None:
        """The decoder of a network with these outputs (name to shape), None if it is no SCRFD with landmarks."""
        names: list[str] = []
        for width in _WIDTHS:
            names += [name for name, shape in outputs.items() if shape and shape[-1] == width]
        ranks = {len(outputs[name]) for name in names}
        if len(names) != 9 or len(outputs) != 9 or len(ranks) != 1 or not ranks <= {2, 3}:
            return None
        return cls(names, batch_axis=ranks == {3})

    def prepare(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB -> (N, 3, H, W) float32 RGB, (value - 127.5) / 128."""
        return (pictures.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 128

    def decode(
        self, outputs: Mapping[str, np.ndarray], row: int, size: tuple[int, int], threshold: float
    ) -> np.ndarray:
        """Faces of picture `row` above the threshold as (K, 15): box xyxy, 5 points xy, score.

        A box is given by the distances of its sides from the anchor, a point by its offset, both in strides.
        """
        parts = []
        for index, stride in enumerate(STRIDES):
            rows, columns = size[0] // stride, size[1] // stride
            score, box, points = (
                self._of_row(outputs[self.outputs[index + 3 * kind]], row, rows * columns) for kind in range(3)
            )
            keep = np.flatnonzero(score[:, 0] >= threshold)
            cell = keep // ANCHORS
            anchor = np.stack([cell % columns, cell // columns], 1).astype(np.float32) * stride
            sides = box[keep] * stride
            found = anchor[:, None] + points[keep].reshape(-1, 5, 2) * stride
            parts.append(
                np.concatenate(
                    [anchor - sides[:, :2], anchor + sides[:, 2:], found.reshape(-1, 10), score[keep]], axis=1
                )
            )
        return np.concatenate(parts).astype(np.float32)

    def _of_row(self, output: np.ndarray, row: int, cells: int) -> np.ndarray:
        """(cells * ANCHORS, C) of one picture. Without a batch axis the pictures alternate within each cell."""
        if self._batch_axis:
            return output[row]
        return output.reshape(cells, -1, ANCHORS, output.shape[-1])[:, row].reshape(cells * ANCHORS, -1)
