"""One tile of the score matrix on a GPU: the same as `compare`, written in torch. Never run on a GPU so far."""

from __future__ import annotations

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.scores.compare import RAW, ZERO, Part, Scores, folded
from vultus.evaluation.scores.layout import Layout
from vultus.evaluation.scores.strips import LOWEST, NOTHING, SCALE


class CompareTorch:
    """The matrix product, the search for the largest scores and the counts happen on `device`.

    Tested with torch on the processor (`device="cpu"`); never run on a GPU. Scores are float32 products (TF32 is
    switched off meanwhile), whose last bit may differ from the processor's. Device memory: one panel of rows and of
    columns and, of a tile of B x B, about 20 bytes a score.
    """

    def __init__(self, layout: Layout, device: str) -> None:
        try:
            import torch
        except ImportError:
            raise VultusError("device: comparing on a GPU needs torch; install vultus[train]") from None
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise VultusError(f"device {device}: torch sees no GPU here; leave the device out")
        try:
            self.device = torch.device(device)
        except RuntimeError:
            raise VultusError(f"device {device}: torch knows no such device; try cuda, or leave it out") from None
        self.layout = layout
        self._panel: tuple[int, torch.Tensor] | None = None

    def __call__(self, tile: tuple[int, int], cut: float) -> Part:
        import torch

        (row, column), layout, block = tile, self.layout, self.layout.block
        if self._panel is None or self._panel[0] != row:
            self._panel = row, self._load(layout.rows.panel(slice(row, row + block)) * SCALE)
        columns = self._load(layout.columns.panel(slice(column, column + block)))
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            scores = self._panel[1] @ columns.T
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        mated = None
        band = layout.band(row, scores.shape[0], column, scores.shape[1])
        if band is not None:
            mated = self._chosen(scores, self._load(band.mated), row, column)
            scores[self._load(band.left_out)] = float(NOTHING)
        tail = self._chosen(scores, scores >= float(np.float32(max(cut, LOWEST)) * SCALE), row, column)
        numbers = scores.floor_().add_(ZERO).to(torch.int64)
        counts = torch.bincount(numbers.view(-1), minlength=RAW).cpu().numpy()
        nothing = Scores(np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.int32))
        return Part(mated or nothing, tail, folded(counts))

    def _load(self, array: np.ndarray):
        import torch

        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self.device)

    def _chosen(self, scores, mask, row: int, column: int) -> Scores:
        rows, columns = mask.nonzero(as_tuple=True)
        values = scores[rows, columns].clamp(-float(SCALE), float(SCALE)) / float(SCALE)
        places = ((rows + row).int().cpu().numpy(), (columns + column).int().cpu().numpy())
        return Scores(values.cpu().numpy(), *places)
