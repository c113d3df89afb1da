"""YuNet's pixels in and outputs out.

Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023. It sees faces of
about 10 to 300 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vultus.faces.decoder import STRIDES

_KINDS = ("cls", "obj", "bbox", "kps")


class YuNet:
    """One anchor a cell; the score is sqrt(cls * obj)."""

    score_threshold = 0.7
    """A face is found in 6,141 of 6,141 LFW photographs; lower finds more faces in crowds and more that are none."""
    nms_iou = 0.3
    """The authors' setting."""
    outputs = tuple(f"{kind}_{stride}" for kind in _KINDS for stride in STRIDES)

    @classmethod
    def of(cls, outputs: Mapping[str, Sequence[int | str | None]]) -> YuNet | None:
        """The decoder of a network with these outputs (name to shape), None if it is no YuNet."""
        return cls() if set(cls.outputs) <= outputs.keys() else None

    def prepare(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB -> (N, 3, H, W) float32 BGR, 0..255."""
        return pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)

    def decode(
        self, outputs: Mapping[str, np.ndarray], row: int, size: tuple[int, int], threshold: float
    ) -> np.ndarray:
        """Faces of picture `row` above the threshold as (K, 15): box xyxy, 5 points xy, score."""
        parts = []
        for stride in STRIDES:
            cls, obj, bbox, kps = (outputs[f"{kind}_{stride}"][row] for kind in _KINDS)
            score = np.sqrt(cls[:, 0].clip(0, 1) * obj[:, 0].clip(0, 1))
            keep = np.flatnonzero(score >= threshold)
            columns = size[1] // stride
            grid = np.stack([keep % columns, keep // columns], 1).astype(np.float32)
            box = bbox[keep]
            centre = (grid + box[:, :2]) * stride
            half = np.exp(box[:, 2:]) * (stride / 2)
            points = (grid[:, None] + kps[keep].reshape(-1, 5, 2)) * stride
            parts.append(np.concatenate([centre - half, centre + half, points.reshape(-1, 10), score[keep, None]], 1))
        return np.concatenate(parts).astype(np.float32)
