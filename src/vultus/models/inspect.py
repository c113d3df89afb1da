"""What is this file? Everything that can be told of weights before anybody trusts them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from vultus.errors import VultusError
from vultus.files import MOST_WEIGHTS, check_file
from vultus.models.checkpoint import read_checkpoint
from vultus.models.onnx_file import read_onnx
from vultus.models.weights import GRAPH, Loaded, describe_assumption, load_weights
from vultus.zoo import canonical_digest, read_network
from vultus.zoo.locate import sha256_of
from vultus.zoo.statement import stated
from vultus.zoo.table import ZOO


@dataclass(frozen=True)
class Inspection:
    """Facts for a table, and what keeps the file from being used (None where nothing does)."""

    path: Path
    facts: tuple[tuple[str, str], ...]
    problem: str | None


def inspect_file(path: str | Path) -> Inspection:
    """Read a weights file whole and say what it is. Raises `VultusError` where it cannot be read at all."""
    path = Path(path)
    check_file(path, MOST_WEIGHTS, "the weights file")
    sha256 = sha256_of(path)
    facts = [("file", f"{path.stat().st_size:,} bytes"), ("sha256", sha256)]
    if known := [entry for entry in ZOO.values() if entry.sha256 == sha256]:
        facts.append(("published as", f"{known[0].name}: {known[0].about}"))
    is_onnx = path.suffix.lower() == ".onnx"
    facts += _onnx_facts(path) if is_onnx else _checkpoint_facts(path)
    if known and known[0].kind == "detector":
        return Inspection(path, (*facts, ("is", "a face detector; `vultus data build --detector` takes it")), None)
    try:
        loaded = load_weights(path)
    except VultusError as error:
        if is_onnx and "cannot be trained here" in str(error):
            facts.append(("trainable", "no: it runs as it is, but " + str(error)))
            return Inspection(path, tuple(facts + _contract_facts(path, sha256)), None)
        return Inspection(path, tuple(facts), str(error).removeprefix(f"{path}: ").removeprefix(f"{path} "))
    return Inspection(path, (*facts, *_loaded_facts(loaded)), None)


def _checkpoint_facts(path: Path) -> list[tuple[str, str]]:
    checkpoint = read_checkpoint(path)
    tensors = checkpoint.tensors
    kinds = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    within = f", in {checkpoint.inside!r}" if checkpoint.inside else ""
    facts = [
        ("format", "safetensors" if path.suffix.lower() == ".safetensors" else "torch checkpoint (tensors only)"),
        ("holds", f"{len(tensors)} tensors{within}: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}"),
    ]
    return facts + ([("beside them", ", ".join(checkpoint.beside[:8]))] if checkpoint.beside else [])


def _onnx_facts(path: Path) -> list[tuple[str, str]]:
    model = read_network(path)
    graph = model.graph
    fixed = {tensor.name for tensor in graph.initializer}
    images = [value for value in graph.input if len(value.type.tensor_type.shape.dim) == 4 and value.name not in fixed]
    ops = Counter(node.op_type for node in graph.node if node.op_type != "Constant")
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    made = f", by {model.producer_name} {model.producer_version}".rstrip() if model.producer_name else ""
    facts = [
        ("format", f"ONNX, opset {opset}{made}"),
        ("operations", ", ".join(f"{count} {name}" for name, count in ops.most_common(8))),
        (
            "outputs",
            ", ".join(_shape(value) for value in graph.output[:4]) + (", ..." if len(graph.output) > 4 else ""),
        ),
    ]
    if images:
        batch = images[0].type.tensor_type.shape.dim[0].dim_value
        note = "; a batch of exactly one, freed on loading" if batch == 1 else ""
        facts.append(("input", _shape(images[0]) + note))
    if dangling := [v.name for v in graph.input if v not in images and v.name not in fixed]:
        facts.append(("dangling inputs", f"{len(dangling)}, dropped on loading"))
    if ops["DequantizeLinear"]:
        facts.append(("quantised", f"{ops['DequantizeLinear']} quantised tensors, unpacked to float32 where constant"))
    return facts


def _shape(value: onnx.ValueInfoProto) -> str:
    dims = [d.dim_param or str(d.dim_value or "?") for d in value.type.tensor_type.shape.dim]
    return f"{value.name} ({', '.join(dims)})"


def _loaded_facts(loaded: Loaded) -> list[tuple[str, str]]:
    count = sum(int(np.prod(p.shape)) for p in loaded.network.parameters())
    what = "its own graph, layer by layer" if loaded.architecture == GRAPH else loaded.architecture
    facts = [("layout", f"{what}, {count / 1e6:.2f} million parameters, {loaded.embedding_dim} dimensions")]
    if loaded.prefix:
        facts.append(("names", f"each begins with {loaded.prefix!r}, which was taken off"))
    if loaded.unused:
        facts.append(("left out", ", ".join(loaded.unused[:6]) + (", ..." if len(loaded.unused) > 6 else "")))
    if loaded.folded:
        facts.append(("batch norms", f"{len(loaded.folded)} were folded away by the export; fine-tuning restores them"))
    if loaded.parity is not None:
        facts.append(("parity", f"cosine {loaded.parity:.6f} to onnxruntime on procedural crops"))
    how = loaded.preprocessing
    crop = f"{how.color} {how.crop_size[0]}x{how.crop_size[1]}, (x - {_list(how.mean)}) / {_list(how.std)}"
    facts.append(("crops", crop))
    facts.append(("stated by", "nobody: " + describe_assumption(loaded) if loaded.assumed else loaded.stated_by))
    facts.append(("licence", loaded.statement.licence if loaded.statement else "not stated by the file"))
    return facts


def _contract_facts(path: Path, sha256: str) -> list[tuple[str, str]]:
    original, model = read_onnx(path)
    metadata = {entry.key: entry.value for entry in original.metadata_props}
    statement = stated(path, sha256, metadata=metadata, canonical=canonical_digest(model))
    if statement is None:
        return [("stated by", "nobody: how crops are prepared must be written beside it")]
    return [("stated by", statement.by), ("licence", statement.licence)]


def _list(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "(" + ", ".join(f"{v:g}" for v in values) + ")"
