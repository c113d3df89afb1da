"""OpenVINO's own format: FILE.xml with the graph and our card in its rt_info, FILE.bin with the weights."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import onnx

from vultus.errors import ContractError, VultusError
from vultus.files import MOST_WEIGHTS, check_file, save_atomically
from vultus.recognizer.backends import OpenVinoBackend
from vultus.recognizer.card import KEY, Card
from vultus.recognizer.cosines import row_cosines
from vultus.zoo.locate import sha256_of

DIGEST = "vultus_bin_sha256"
LOOPS = ("If", "Loop", "TensorIterator")
MOST_GRAPH = 64 * 2**20
"""Bytes of the .xml file, which holds no weights."""


def write_ir(model: onnx.ModelProto, card: Card, path: Path, text: str = "") -> None:
    """Write `model` as IR with its card, and `text` (a model card) beside it in the metadata. Weights keep their type.

    The contract is that of the ONNX network: the same weights computed to the same precision.
    """
    import openvino

    read = openvino.Core().read_model(model.SerializeToString())
    read.set_rt_info(card.to_json(), KEY)
    read.set_rt_info(text, "model_card")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        openvino.save_model(read, written, compress_to_fp16=False)
        weights = written.with_suffix(".bin").read_bytes()
        read.set_rt_info(hashlib.sha256(weights).hexdigest(), DIGEST)
        openvino.save_model(read, written, compress_to_fp16=False)
        _compare(model, written, card)
        save_atomically(weights, path.with_suffix(".bin"))
        save_atomically(written.read_bytes(), path)  # last: a graph without its weights must not be found


def _compare(model: onnx.ModelProto, written: Path, card: Card) -> None:
    """Raises `ContractError` where OpenVINO gives other embeddings of noise from its own file than from the ONNX."""
    how = card.contract
    noise = np.random.default_rng(0).uniform(0, 255, (4, 3, *how.crop_size)) - np.reshape(how.mean, (3, 1, 1))
    pixels = (noise / np.reshape(how.std, (3, 1, 1))).astype(np.float32)
    one, other = (OpenVinoBackend(each).run(pixels).reshape(4, -1) for each in (model, written))
    cosine = row_cosines(one, other)
    if not (cosine > 0.9999).all():
        raise ContractError(f"OpenVINO's file gives other embeddings (cosine {cosine.min():.5f}); nothing was written")


def read_ir(path: Path) -> Card:
    """The card of an IR file. Raises `VultusError` for a broken file, `ContractError` where card or weights are not."""
    import openvino

    weights = path.with_suffix(".bin")
    check_file(path, MOST_GRAPH, "model file")
    check_file(weights, MOST_WEIGHTS, "the weights of an OpenVINO file, which is two, keep them together:")
    try:
        read = openvino.Core().read_model(path)
    except Exception:
        raise VultusError(f"{path} is broken or no OpenVINO file") from None
    if looping := [node.get_type_name() for node in read.get_ops() if node.get_type_name() in LOOPS]:
        raise ContractError(f"{path} loops or branches ({looping[0]}), which no recognizer needs", code="operators")
    if not read.has_rt_info(KEY):
        raise ContractError(f"{path} has no card; write it with `vultus export MODEL --out {path.name}`")
    digest = str(read.get_rt_info(DIGEST).value) if read.has_rt_info(DIGEST) else ""
    if digest != sha256_of(weights):
        raise ContractError(f"{weights}: its weights are not those that {path.name} describes; export the model again")
    return Card.from_json(str(read.get_rt_info(KEY).value), str(path))
