"""Weights of any known layout into a trainable network: torch checkpoints, safetensors, ONNX, or a name of the zoo."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from vultus.errors import ContractError, VultusError
from vultus.files import save_atomically
from vultus.models.checkpoint import SUFFIXES, read_checkpoint
from vultus.models.crops import embed_crops, normalise
from vultus.models.layouts import match_layout
from vultus.models.onnx_graph import OnnxGraph
from vultus.models.onnx_weights import fill, product_shapes, read_layers
from vultus.models.parity import check_parity, parity_crops
from vultus.models.registry import NATIVE, create_model, resolve
from vultus.zoo import Preprocessing, find_file, model_file, sanitise
from vultus.zoo.locate import sha256_of
from vultus.zoo.statement import SIDE, Statement, stated

GRAPH = "graph"
"""Architecture of a network made from an ONNX graph."""
GRAPH_FILE = "graph.onnx"


@dataclass(frozen=True)
class Loaded:
    """What `load_weights` made of a file, and what it knows of it."""

    network: nn.Module
    """In training mode, with `preprocessing`, `architecture` and `ancestry` noted on it."""
    path: Path
    sha256: str
    architecture: str
    """A name of `list_models`, or "graph"."""
    embedding_dim: int
    preprocessing: Preprocessing
    stated_by: str
    """Who says how crops are prepared."""
    assumed: bool
    """Nobody does: the published files of this layout want it so."""
    statement: Statement | None
    prefix: str = ""
    unused: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()
    """Batch norms that the export had folded away (see `folded.restore_statistics`)."""
    parity: float | None = None
    """Least cosine to the ONNX file's own embeddings of six procedural crops; None for a checkpoint, or unchecked."""


def load_network(where: str | Path, models_dir: str | Path | None = None, **options: Any) -> nn.Module:
    """The trainable network of a weights file, raw embeddings out; `load_weights` says more about it."""
    return load_weights(where, models_dir, **options).network


def load_weights(
    where: str | Path,
    models_dir: str | Path | None = None,
    *,
    name: str | None = None,
    check: bool = True,
    **options: Any,
) -> Loaded:
    """Load a weights file (.pt .pth .ckpt .bin .safetensors .onnx), or a recogniser of the zoo by its name.

    How crops must be prepared is noted on the network, from the file's own card, from the zoo's table, from
    NAME.contract.json beside the file, or else, said on stderr, as the published files of that layout want it.

    Args:
        name: the architecture, where it is known; otherwise it is recognised.
        check: compare with the embeddings of an ONNX file itself, at cosine 0.9999 on procedural crops.
        options: of the architecture (width), with `name`.

    Raises:
        VultusError: no such file, broken, unsafe, of no known layout.
        ContractError: not a recogniser, nothing says how crops are prepared, or parity fails.
    """
    path = locate(where, models_dir)
    sha256 = sha256_of(path)
    if path.suffix.lower() == ".onnx":
        loaded = _from_onnx(path, sha256, name and resolve(name), check, options)
    else:
        loaded = _from_checkpoint(path, sha256, name and resolve(name), options)
    _describe(loaded, options)
    if loaded.assumed:
        print(f"note: {path.name} does not say how crops are prepared; {describe_assumption(loaded)}", file=sys.stderr)
    return loaded


def locate(where: str | Path, models_dir: str | Path | None = None) -> Path:
    """The file itself, or that of a zoo name."""
    path = Path(where)
    if path.is_file():
        return path
    if path.suffix.lower() in (*SUFFIXES, ".onnx"):
        raise VultusError(f"weights file {path} does not exist")
    if path.is_dir():
        raise VultusError(f"{path} is a folder; name a weights file, or a run directory where one is meant")
    return find_file(model_file(str(where), "recognizer"), models_dir)


def describe_assumption(loaded: Loaded) -> str:
    """What was assumed, and how to state it."""
    how = loaded.preprocessing
    size = "x".join(map(str, how.crop_size))
    return (
        f"taken as the published {loaded.architecture} files: {how.color}, {size}, mean {_numbers(how.mean)}, "
        f"deviation {_numbers(how.std)}; state it in {loaded.path.with_suffix(SIDE).name} if you know better"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "/".join(f"{v:g}" for v in values)


def _from_checkpoint(path: Path, sha256: str, name: str | None, options: dict[str, Any]) -> Loaded:
    checkpoint = read_checkpoint(path)
    match = match_layout(checkpoint.tensors, str(path), name, **options)
    network = create_model(match.architecture, match.embedding_dim, **options)
    tensors = match.take(checkpoint.tensors)
    own = network.state_dict()
    network.load_state_dict({key: tensors.get(key, own[key]).to(own[key].dtype) for key in own})
    return _loaded(
        network, path, sha256, match.architecture, match.embedding_dim, stated(path, sha256),
        prefix=match.prefix, unused=match.unused,
    )  # fmt: skip


def _loaded(
    network: nn.Module,
    path: Path,
    sha256: str,
    architecture: str,
    dim: int,
    statement: Statement | None,
    **more: Any,
) -> Loaded:
    published = _published(architecture)
    how = statement.preprocessing if statement else published
    if how is None:
        raise ContractError(
            f"{path} does not say how it wants its crops; write {path.with_suffix(SIDE).name} beside it, for example "
            f'{{"dim": {dim}, "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5], "color": "RGB"}}'
        )
    if statement and statement.dim not in (None, dim):
        raise ContractError(
            f"{path} has {dim} dimensions, {statement.by} says {statement.dim}; correct 'dim' in the contract"
        )
    by = statement.by if statement else f"the published files of layout {architecture}"
    return Loaded(network, path, sha256, architecture, dim, how, by, statement is None, statement, **more)


def _published(architecture: str) -> Preprocessing | None:
    """How published weights of an architecture want their crops; None for graphs and for networks of ours."""
    return NATIVE[architecture].published if architecture in NATIVE else None


def read_onnx(path: Path) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The file and its sanitised copy, with one image input and one output."""
    try:
        model = onnx.load(str(path))
    except Exception:
        raise VultusError(f"{path} is truncated or no ONNX file") from None
    if not model.graph.node:
        raise VultusError(f"{path} is truncated or no ONNX file: it holds no operations")
    if len(model.graph.output) != 1:
        raise ContractError(
            f"{path} has {len(model.graph.output)} outputs, a recogniser has one embedding; a detector perhaps?"
        )
    return model, sanitise(model)


def onnx_embedder(model: onnx.ModelProto, how: Preprocessing) -> Callable[[np.ndarray], np.ndarray]:
    """Unit embeddings by onnxruntime, of crops prepared as `how` says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise VultusError(f"onnxruntime cannot load it: {str(error).splitlines()[0][:160]}") from None
    name = session.get_inputs()[0].name

    def embed(crops: np.ndarray) -> np.ndarray:
        pixels = normalise(torch.from_numpy(crops.copy()), how).contiguous().numpy()
        try:
            raw = np.asarray(session.run(None, {name: pixels})[0])
        except Exception as error:
            raise ContractError(f"it cannot take these crops: {str(error).splitlines()[0][:160]}") from None
        if raw.ndim < 2 or raw.shape[0] != len(crops) or raw[0].size != max(raw.shape[1:]) or raw[0].size < 2:
            raise ContractError(f"its output has shape {raw.shape} for {len(crops)} crops, no embedding (B, D)")
        raw = raw.reshape(len(crops), -1).astype(np.float32)
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    return embed


def _from_onnx(path: Path, sha256: str, name: str | None, check: bool, options: dict[str, Any]) -> Loaded:
    original, model = read_onnx(path)
    statement = stated(path, sha256, {entry.key: entry.value for entry in original.metadata_props})
    size = _input_size(model)
    try:
        dim = onnx_embedder(model, Preprocessing(crop_size=size or (112, 112)))(parity_crops()[:2]).shape[1]
    except VultusError as error:
        raise type(error)(f"{path}: {error}") from None
    found = _recognise(model, dim, size, name, options)
    if found is None and name is not None:
        raise VultusError(f"{path} is no {name}: its layers have other shapes")
    network, architecture, folded = found or (OnnxGraph(model), GRAPH, [])
    loaded = _loaded(network, path, sha256, architecture, dim, statement, folded=tuple(folded))
    if size is not None and loaded.preprocessing.crop_size != size:
        wanted, given = ("x".join(map(str, s)) for s in (size, loaded.preprocessing.crop_size))
        raise ContractError(f"{path} takes {wanted} crops, {loaded.stated_by} says {given}; correct 'crop_size'")
    if not check:
        return loaded
    note(network, preprocessing=loaded.preprocessing)
    theirs = onnx_embedder(model, loaded.preprocessing)
    least = check_parity(lambda crops: embed_crops(network, crops), theirs, f"{path} as {architecture}")
    return dataclasses.replace(loaded, parity=least)


def _input_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """(height, width) of the input, None where it is left open."""
    height, width = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[2:])
    return (height, width) if height > 0 and width > 0 else None


def _recognise(
    model: onnx.ModelProto, dim: int, size: tuple[int, int] | None, only: str | None, options: dict[str, Any]
) -> tuple[nn.Module, str, list[str]] | None:
    """One of our architectures with the file's weights in it, and its folded norms."""
    if model.graph.node[0].op_type in ("Sub", "Mul", "Div", "Add"):
        return None  # the graph prepares its crops itself, which our modules do not
    layers = read_layers(model)
    wanted = layers.product_shapes
    for name, architecture in NATIVE.items():
        if (only and name != only) or (size and architecture.crop_size != size):
            continue
        with torch.device("meta"):
            empty = create_model(name, dim, **(options if only else {}))
        if product_shapes(empty) != wanted:
            continue
        network = create_model(name, dim, **(options if only else {}))
        folded = fill(network, layers, torch.zeros(1, 3, *architecture.crop_size))
        if folded is not None:
            return network, name, folded
    return None


def note(network: nn.Module, **facts: Any) -> None:
    """Plain attributes of a network: what it says of itself, no part of its state dict."""
    for name, value in facts.items():
        setattr(network, name, value)


def _describe(loaded: Loaded, options: dict[str, Any]) -> None:
    """What the network says of itself from now on."""
    statement = loaded.statement
    loaded.network.train()
    architecture = {
        "name": loaded.architecture,
        "embedding_dim": loaded.embedding_dim,
        "options": options,
        "preprocessing": loaded.preprocessing.to_dict(),
        "folded_norms": list(loaded.folded),
    }
    parent = {
        "file": loaded.path.name,
        "sha256": loaded.sha256,
        "layout": loaded.architecture,
        "contract": loaded.stated_by + (" (assumed)" if loaded.assumed else ""),
        "licence": statement.licence if statement else "not stated",
    }
    note(
        loaded.network,
        preprocessing=loaded.preprocessing,
        embedding_dim=loaded.embedding_dim,
        architecture=architecture,
        folded_norms=loaded.folded,
        ancestry=[*(statement.ancestry if statement else []), parent],
    )
    if loaded.architecture == GRAPH:
        note(loaded.network, graph=read_onnx(loaded.path)[1])


def keep(network: nn.Module, folder: Path) -> None:
    """Write into `folder` what `rebuild` needs beside the architecture: the graph of a converted ONNX file."""
    graph = getattr(network, "graph", None)
    if graph is not None:
        save_atomically(graph.SerializeToString(), folder / GRAPH_FILE)


def rebuild(architecture: dict[str, Any], folder: Path) -> nn.Module:
    """The network that `architecture` (`network.architecture`) describes, with weights yet to be loaded."""
    if architecture["name"] == GRAPH:
        graph = onnx.load(str(folder / GRAPH_FILE))
        network: nn.Module = OnnxGraph(graph)
        note(network, graph=graph)
    else:
        network = create_model(architecture["name"], architecture["embedding_dim"], **architecture["options"])
    note(
        network,
        preprocessing=Preprocessing.from_dict(architecture["preprocessing"], str(folder)),
        embedding_dim=architecture["embedding_dim"],
        architecture=architecture,
        folded_norms=tuple(architecture["folded_norms"]),
    )
    return network
