"""A trained torch network to a self-describing ONNX file."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from vultus.errors import ContractError
from vultus.recognizer.card import Card, write_card
from vultus.recognizer.cosines import row_cosines
from vultus.zoo import Contract, Preprocessing, canonical_digest

if TYPE_CHECKING:
    import torch

PARITY = 0.9999
"""Lowest cosine between torch's and onnxruntime's embedding of a crop that an export accepts."""


def export_onnx(
    network: torch.nn.Module,
    path: str | Path,
    *,
    name: str,
    licence: str,
    provenance: dict[str, Any] | None = None,
) -> Card:
    """Write `network` (normalised crops to raw embeddings (B, D)) as ONNX with its card.

    How crops are normalised is what the network says of itself (`models.crops.preprocessing_of`). The batch is
    dynamic. The file is read back and compared with torch before it is kept.

    Raises:
        ContractError: the exported network does not give torch's embeddings.
    """
    model, contract = as_onnx(network)
    card = Card(name, contract, licence, provenance or {})
    write_card(model, card, path)
    return card


def as_onnx(network: torch.nn.Module) -> tuple[onnx.ModelProto, Contract]:
    """`network` as ONNX, compared with torch, and its contract. Raises `ContractError` where they differ."""
    from vultus.models.crops import preprocessing_of

    how = preprocessing_of(network)
    model = to_onnx(network)
    dim = _check_parity(network, model, how)
    return model, Contract(canonical_digest(model), dim, how.mean, how.std, how.color, how.crop_size)


def to_onnx(network: torch.nn.Module) -> onnx.ModelProto:
    """Trace in evaluation mode with a dynamic batch; float32, opset 18."""
    import torch

    from vultus.models.crops import preprocessing_of

    network = network.eval().cpu().float()
    example = torch.zeros(2, 3, *preprocessing_of(network).crop_size)
    buffer = io.BytesIO()
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer's deprecation notices are not the user's business
            torch.onnx.export(
                network,
                (example,),
                buffer,  # pyright: ignore[reportArgumentType]
                dynamo=False,
                opset_version=18,
                input_names=["crops"],
                output_names=["embeddings"],
                dynamic_axes={"crops": {0: "batch"}, "embeddings": {0: "batch"}},
            )
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    model = onnx.load_from_string(buffer.getvalue())
    model.producer_name, model.producer_version, model.doc_string = "vultus", "", ""
    return model


def _check_parity(network: torch.nn.Module, model: onnx.ModelProto, how: Preprocessing) -> int:
    """Dimension of the embeddings, once both give the same of noise."""
    import onnxruntime
    import torch

    generator = np.random.default_rng(0)
    crops = generator.uniform(-1, 1, (5, 3, *how.crop_size)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ours = np.asarray(session.run(None, {"crops": crops})[0])
    with torch.no_grad():
        theirs = network.eval()(torch.from_numpy(crops)).numpy()
    if ours.shape != theirs.shape or ours.ndim != 2:
        raise ContractError(f"the exported network gives embeddings of shape {ours.shape}, torch {theirs.shape}")
    cosine = row_cosines(ours, theirs)
    if not (cosine >= PARITY).all():
        raise ContractError(
            f"the exported network differs from torch: cosine {cosine.min():.6f}, at least {PARITY} needed"
        )
    return ours.shape[1]
