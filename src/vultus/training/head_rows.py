"""Which identity each row of class centres stands for, where the centres start, and which of them never move."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vultus.data import FaceDataset
from vultus.data.seen import hash_name
from vultus.errors import VultusError
from vultus.files import parsing, save_atomically
from vultus.formats import read_json
from vultus.losses import MarginLoss
from vultus.losses.centers import INIT_STD, ClassCenters

FILE = "head.json"
SPREAD = 0.1
"""Sub-centres of an identity start this far apart, relative to their length."""


@dataclass(frozen=True)
class HeadRows:
    """The identities of a head, in the order of its classes: those of the data first, then those kept as negatives."""

    identities: tuple[str, ...]
    """Hashed names, as in seen.json."""
    kept: tuple[int, ...] = ()
    """Classes whose centres stay as an earlier run left them."""

    @classmethod
    def of(cls, data: FaceDataset, earlier: HeadRows | None = None) -> HeadRows:
        """Classes of `data`; with `earlier`, its identities keep their centres, also those that `data` lacks."""
        names = [hash_name(name) for name in data.identities]
        if earlier is None:
            return cls(tuple(names))
        known, here = set(earlier.identities), set(names)
        kept = [row for row, name in enumerate(names) if name in known]
        absent = [name for name in earlier.identities if name not in here]
        return cls((*names, *absent), (*kept, *range(len(names), len(names) + len(absent))))

    def save(self, folder: Path) -> None:
        content = json.dumps({"identities": self.identities, "kept": self.kept})
        save_atomically((content + "\n").encode(), folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> HeadRows | None:
        """None where the run has no class centres, or was made before they were named."""
        path = folder / FILE
        if not path.is_file():
            return None
        with parsing(path, "list of class centres", "train again"):
            fields = read_json(path, "train again")
            return cls(tuple(fields["identities"]), tuple(fields["kept"]))


def set_mean_centers(centers: ClassCenters, embeddings: np.ndarray, labels: np.ndarray) -> None:
    """Each class's centre becomes the mean of its unit embeddings, (N, D) with (N,) labels; sub-centres lie around it.

    Centres get the length that random ones have: their gradient is divided by it, and so the published learning rates
    hold. Classes without an embedding stay as they are.
    """
    weight = centers.weight.data
    index = torch.from_numpy(np.asarray(labels, np.int64))
    sums = torch.zeros(int(index.max()) + 1, weight.shape[1])
    sums.index_add_(0, index, torch.from_numpy(np.asarray(embeddings, np.float32)))
    unit = torch.nn.functional.normalize(sums)
    per = centers.subcenters
    start = unit.repeat_interleave(per, 0)
    if per > 1:
        noise = torch.randn(start.shape) * (SPREAD / math.sqrt(weight.shape[1]))
        noise[::per] = 0  # the first is the mean itself
        start = torch.nn.functional.normalize(start + noise)
    present = (unit.norm(dim=1) > 0).repeat_interleave(per)
    rows = torch.arange(len(start))[present]
    weight[rows.to(weight.device)] = (start[present] * (INIT_STD * math.sqrt(weight.shape[1]))).to(weight)


def copy_kept_centers(
    centers: ClassCenters, rows: HeadRows, earlier: HeadRows, state: dict[str, Tensor], where: str
) -> None:
    """The kept classes get the centres (and biases) that they have in `state`, the earlier run's loss, bit for bit."""
    old, bias = state.get("centers.weight"), state.get("centers.bias")
    new = centers.weight.data
    per = centers.subcenters
    if (
        old is None
        or old.shape != (len(earlier.identities) * per, new.shape[1])
        or (bias is None) != (centers.bias is None)
    ):
        found = "none" if old is None else f"{tuple(old.shape)}"
        raise VultusError(
            f"finetune.keep_centers: the class centres of {where} ({found}) are not those of this loss; "
            "use the loss that it was trained with"
        )
    place = {name: row for row, name in enumerate(earlier.identities)}
    kept = torch.tensor(rows.kept, dtype=torch.int64)
    origin = torch.tensor([place[rows.identities[row]] for row in rows.kept], dtype=torch.int64)
    within = torch.arange(per)
    new[(kept[:, None] * per + within).flatten()] = old[(origin[:, None] * per + within).flatten()].to(new)
    if centers.bias is not None and bias is not None:
        centers.bias.data[kept] = bias[origin].to(centers.bias)


def hold_centers(loss: MarginLoss, rows: HeadRows) -> list[torch.nn.Parameter]:
    """Take the gradient off the kept classes, and return the parameters that must not decay either."""
    if not rows.kept:
        return []
    centers = loss.centers
    kept = torch.zeros(len(rows.identities), dtype=torch.bool)
    kept[list(rows.kept)] = True
    held = [(centers.weight, kept.repeat_interleave(centers.subcenters))]
    if centers.bias is not None:
        held.append((centers.bias, kept))
    for parameter, mask in held:
        parameter.register_hook(_Stop(mask))
    return [parameter for parameter, _ in held]


class _Stop:
    """Zeroes rows of a gradient, dense or sparse."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __call__(self, gradient: Tensor) -> Tensor:
        self.rows = self.rows.to(gradient.device)
        if not gradient.is_sparse:
            return gradient.masked_fill(self.rows.view(-1, *[1] * (gradient.ndim - 1)), 0)
        gradient = gradient.coalesce()
        indices, values = gradient.indices(), gradient.values()
        values = values.masked_fill(self.rows[indices[0]].view(-1, *[1] * (values.ndim - 1)), 0)
        return torch.sparse_coo_tensor(indices, values, gradient.shape, is_coalesced=True, check_invariants=False)
