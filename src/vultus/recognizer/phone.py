"""For phones: a torch network to ExecuTorch (.pte), for its XNNPACK kernels. One crop a run."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from vultus.errors import ContractError, VultusError
from vultus.recognizer.cosines import row_cosines

if TYPE_CHECKING:
    import torch

PARITY = 0.9999
"""Lowest cosine to torch's embedding that a file must give."""


def to_executorch(network: torch.nn.Module) -> bytes:
    """A program with the method `forward`: (1, 3, h, w) float32 normalised pixels to a raw embedding (1, dim).

    It is run here, and compared with torch, before it is given out.

    Raises:
        ModuleNotFoundError: executorch is not installed (the extra `executorch`).
        VultusError: the network cannot be lowered. ContractError: the program differs from torch.
    """
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from vultus.models.crops import preprocessing_of

    network = network.eval().cpu().float()
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(4, 3, *preprocessing_of(network).crop_size, generator=generator) * 2 - 1
    with _quiet(), torch.no_grad():
        try:
            traced = torch.export.export(network, (crops[:1],))
            program = to_edge_transform_and_lower(traced, partitioner=[XnnpackPartitioner()]).to_executorch()
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)[:160]
            raise VultusError(f"ExecuTorch cannot take the network: {reason}") from None
        ours = run_executorch(program.buffer, crops.numpy())
        theirs = network(crops).numpy()
    cosine = row_cosines(ours, theirs)
    if not (cosine >= PARITY).all():
        raise ContractError(f"ExecuTorch differs from torch: cosine {cosine.min():.6f}, at least {PARITY} needed")
    return bytes(program.buffer)


def run_executorch(program: bytes, pixels: np.ndarray) -> np.ndarray:
    """Raw embeddings (B, dim) float32 of normalised pixels (B, 3, h, w) float32, by ExecuTorch's runtime here."""
    import torch
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(program).load_method("forward")
    if method is None:
        raise ContractError("the ExecuTorch program has no method 'forward'")
    rows = [method.execute([torch.from_numpy(pixels[i : i + 1]).contiguous()])[0] for i in range(len(pixels))]
    return np.concatenate([np.array(row.numpy(), np.float32).reshape(1, -1) for row in rows])


@contextlib.contextmanager
def _quiet() -> Any:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
