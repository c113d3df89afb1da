"""Weights of any known layout into a trainable network: torch checkpoints, safetensors, ONNX, or a name of the zoo."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vultus.errors import ContractError, VultusError
from vultus.files import save_atomically
from vultus.models.architectures import NATIVE, UNPUBLISHED
from vultus.models.checkpoint import read_checkpoint
from vultus.models.crops import embed_crops
from vultus.models.layouts import match_layout
from vultus.models.onnx_file import input_size, onnx_embedder, read_onnx, recognise
from vultus.models.onnx_graph import OnnxGraph
from vultus.models.parity import check_parity, parity_crops
from vultus.models.registry import create_model, resolve
from vultus.terminal import say
from vultus.zoo import (
    Contract,
    ModelFile,
    Preprocessing,
    announce,
    announce_chain,
    canonical_digest,
    locate_model,
    read_network,
)
from vultus.zoo.locate import sha256_of
from vultus.zoo.statement import CARD, SIDE, Statement, stated, unprepared, unstated

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

    @property
    def as_statement(self) -> Statement:
        """What somebody stated; the assumption, where nobody did."""
        if self.statement is not None:
            return self.statement
        chain = ({**unstated(self.path, self.sha256), "contract": f"assumed: {self.stated_by}"},)
        how = self.preprocessing
        contract = Contract("", self.embedding_dim, how.mean, how.std, how.color, how.crop_size)
        return Statement(contract, f"assumed: {self.stated_by}", "not stated", chain)


def load_network(where: str | Path, models_dir: str | Path | None = None, **options: Any) -> nn.Module:
    """The trainable network of a weights file, raw embeddings out: `load_weights`, with what was assumed on stderr."""
    loaded = load_weights(where, models_dir, **options)
    announce_loaded(loaded)
    return loaded.network


def announce_loaded(loaded: Loaded) -> None:
    """On stderr: a licence that forbids commercial use, and what was assumed."""
    if loaded.statement and loaded.statement.entry:
        announce(loaded.statement.entry)
    announce_chain(loaded.as_statement.ancestry)
    if loaded.assumed:
        say(f"note: {loaded.path} does not say how crops are prepared; {describe_assumption(loaded)}", err=True)


def load_weights(
    where: str | Path,
    models_dir: str | Path | None = None,
    *,
    name: str | None = None,
    entry: ModelFile | None = None,
    check: bool = True,
    **options: Any,
) -> Loaded:
    """Load a weights file (.pt .pth .ckpt .bin .safetensors .onnx), or a recogniser of the zoo by its name.

    How crops must be prepared is noted on the network, from the file's own card, from the zoo's table, from
    NAME.contract.json beside the file, or else (`assumed`) as the published files of that layout want it.

    Args:
        name: the architecture, where it is known; otherwise it is recognised.
        entry: of the zoo, where the file is known to be that one.
        check: compare with the embeddings of an ONNX file itself, at cosine 0.9999 on procedural crops.
        options: of the architecture (width), with `name`.

    Raises:
        VultusError: no such file, broken, unsafe, of no known layout.
        ContractError: not a recogniser, nothing says how crops are prepared, or parity fails.
    """
    path, by_name = locate_model(where, models_dir)
    entry = entry or by_name
    name = resolve(name) if name and name != "auto" else None
    if options and name is None:
        raise VultusError(f"{', '.join(options)}: name the architecture that these options are of")
    if path.suffix.lower() == ".onnx":
        loaded = _from_onnx(path, entry, name, check, options)
    else:
        loaded = _from_checkpoint(path, entry, name or (entry and entry.architecture), options)
    _describe(loaded, options)
    return loaded


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


def _from_checkpoint(path: Path, entry: ModelFile | None, name: str | None, options: dict[str, Any]) -> Loaded:
    checkpoint = read_checkpoint(path)
    match = match_layout(checkpoint.tensors, str(path), name, **options)
    network = create_model(match.architecture, match.embedding_dim, **options)
    network.load_state_dict({**network.state_dict(), **match.take(checkpoint.tensors)})  # with what old files lack
    sha256 = sha256_of(path)
    statement = stated(path, sha256, entry=entry)
    found = _loaded(network, path, sha256, match.architecture, match.embedding_dim, statement, match.prefix)
    return dataclasses.replace(found, unused=match.unused)


def _loaded(
    network: nn.Module,
    path: Path,
    sha256: str,
    architecture: str,
    dim: int,
    statement: Statement | None,
    prefix: str = "",
) -> Loaded:
    published = _published(architecture, prefix)
    how = statement.preprocessing if statement else published
    if how is None:
        raise unprepared(path, dim)
    if statement and statement.contract.dim != dim:
        raise ContractError(
            f"{path} has {dim} dimensions, {statement.by} says {statement.contract.dim}; correct 'dim' in the contract"
        )
    by = statement.by if statement else f"the published files of layout {architecture}"
    return Loaded(network, path, sha256, architecture, dim, how, by, statement is None, statement, prefix)


def _published(architecture: str, prefix: str) -> Preprocessing | None:
    """How published weights of an architecture want their crops; None for a graph, and where nothing is published."""
    known = NATIVE.get(architecture)
    if known is None or known.licence == UNPUBLISHED:
        return None
    if known.module == "ir" and prefix.endswith("net."):  # CVLface's release of AdaFace's networks was trained on RGB
        return dataclasses.replace(known.published, color="RGB")
    return known.published


def _from_onnx(path: Path, entry: ModelFile | None, name: str | None, check: bool, options: dict[str, Any]) -> Loaded:
    original, model = read_onnx(path)
    sha256, metadata = sha256_of(path), {item.key: item.value for item in original.metadata_props}
    canonical = canonical_digest(model)
    statement = stated(path, sha256, metadata=metadata, canonical=canonical, entry=entry)
    if statement is not None:  # a card speaks of the file as it is, others of the sanitised network
        statement.bind(canonical_digest(original) if CARD in metadata else canonical, str(path))
    size = input_size(model)
    probe = size or (statement.preprocessing.crop_size if statement else (112, 112))
    try:
        dim = onnx_embedder(model, Preprocessing(crop_size=probe))(parity_crops()[:2]).shape[1]
    except VultusError as error:
        raise type(error)(f"{path}: {error}") from None
    found = recognise(model, dim, size, name, options)
    if found is None and name is not None:
        raise VultusError(f"{path} is no {name}: its layers have other shapes")
    network, architecture, folded = found or (OnnxGraph(model), GRAPH, [])
    loaded = _loaded(network, path, sha256, architecture, dim, statement)
    loaded = dataclasses.replace(loaded, folded=tuple(folded))
    if size is not None and loaded.preprocessing.crop_size != size:
        wanted, given = ("x".join(map(str, s)) for s in (size, loaded.preprocessing.crop_size))
        raise ContractError(f"{path} takes {wanted} crops, {loaded.stated_by} says {given}; correct 'crop_size'")
    if not check:
        return loaded
    note(network, preprocessing=loaded.preprocessing)
    theirs = onnx_embedder(model, loaded.preprocessing)
    least = check_parity(lambda crops: embed_crops(network, crops), theirs, f"{path} as {architecture}")
    return dataclasses.replace(loaded, parity=least)


def note(network: nn.Module, **facts: Any) -> None:
    """Plain attributes of a network: what it says of itself, no part of its state dict."""
    for name, value in facts.items():
        setattr(network, name, value)


def _describe(loaded: Loaded, options: dict[str, Any]) -> None:
    """What the network says of itself from now on."""
    loaded.network.train()
    architecture = {
        "name": loaded.architecture,
        "embedding_dim": loaded.embedding_dim,
        "options": options,
        "preprocessing": loaded.preprocessing.to_dict(),
        "folded_norms": list(loaded.folded),
    }
    note(
        loaded.network,
        preprocessing=loaded.preprocessing,
        embedding_dim=loaded.embedding_dim,
        architecture=architecture,
        folded_norms=loaded.folded,
        ancestry=list(loaded.as_statement.ancestry),
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
        graph = read_network(folder / GRAPH_FILE)
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
