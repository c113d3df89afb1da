"""Files of weights: which layouts are recognised, what is refused and in which words, what an ONNX file becomes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from vultus.errors import ContractError, VultusError
from vultus.models import create_model
from vultus.models.crops import embed_crops, normalise
from vultus.models.folded import restore_statistics
from vultus.models.inspect import inspect_file
from vultus.models.onnx_graph import OnnxGraph
from vultus.models.parity import parity_crops
from vultus.models.weights import keep, load_network, load_weights, rebuild
from vultus.recognizer.export import export_onnx, to_onnx
from vultus.zoo import Preprocessing

SIDE = {"dim": 64, "mean": [127.5] * 3, "std": [127.5] * 3}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def lively(name: str, dim: int = 64, **options) -> nn.Module:
    """A network with norms as if trained: statistics of procedural crops, random scales."""
    network = create_model(name, dim, **options)
    generator = torch.Generator().manual_seed(1)
    crops = normalise(torch.from_numpy(parity_crops().copy()), network.preprocessing)  # type: ignore[arg-type]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = None  # a plain average
                if module.affine and module.weight.requires_grad:
                    module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
                    module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.1)
        network.train()(crops)
    return network.eval()


def same(one: nn.Module, other: nn.Module) -> float:
    crops = parity_crops().copy()
    return float((embed_crops(one, crops) * embed_crops(other, crops)).sum(1).min())


@pytest.mark.parametrize(
    ("name", "wrap", "prefix", "inside"),
    [
        ("iresnet18", lambda s: s, "", ""),
        ("iresnet18", lambda s: {f"module.{k}": v for k, v in s.items()}, "module.", ""),
        (
            "ir18",  # AdaFace's Lightning checkpoints
            lambda s: {
                "epoch": 25,
                "state_dict": {**{f"model.{k}": v for k, v in s.items()}, "head.kernel": torch.zeros(64, 9)},
            },
            "model.",
            "state_dict",
        ),
        ("ir18", lambda s: {f"net.{k}": v for k, v in s.items()}, "net.", ""),  # CVLface's
        ("mobilefacenet", lambda s: {"net_state_dict": s}, "", "net_state_dict"),
        ("mobilefacenet_insightface", lambda s: {"state_dict_backbone": s, "epoch": 3}, "", "state_dict_backbone"),
        ("edgeface_xxs", lambda s: s, "", ""),
    ],
)
def test_a_layout_is_recognised(name: str, wrap, prefix: str, inside: str, tmp_path: Path) -> None:
    network = create_model(name, 64).eval()
    path = tmp_path / "weights.pt"
    torch.save(wrap(network.state_dict()), path)
    (tmp_path / "weights.contract.json").write_text(json.dumps(SIDE))
    loaded = load_weights(path)
    assert (loaded.architecture, loaded.embedding_dim, loaded.prefix) == (name, 64, prefix)
    assert not loaded.assumed and loaded.stated_by == "side file weights.contract.json"
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value), key
    facts = dict(inspect_file(path).facts)
    assert name in facts["layout"] and (not inside or repr(inside) in facts["holds"])


def test_safetensors_and_a_file_without_counters(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    network = lively("tinyresnet")
    bare = {k: v.contiguous() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(bare, str(tmp_path / "w.safetensors"))
    (tmp_path / "w.contract.json").write_text(json.dumps(SIDE))
    assert same(load_network(tmp_path / "w.safetensors"), network) > 0.999999


def test_the_name_and_width_may_be_given(tmp_path: Path) -> None:
    narrow = create_model("mobilefacenet", 64, width=0.75)
    torch.save(narrow.state_dict(), tmp_path / "w.pt")
    (tmp_path / "w.contract.json").write_text(json.dumps(SIDE))
    with pytest.raises(VultusError, match=r"nearest: .*conv1\.conv\.weight has shape"):
        load_weights(tmp_path / "w.pt")
    again = create_model("mobilefacenet", weights=tmp_path / "w.pt", width=0.75)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), narrow.state_dict().values()))
    with pytest.raises(VultusError, match="has 64 dimensions, not embedding_dim=128"):
        create_model("mobilefacenet", 128, weights=tmp_path / "w.pt", width=0.75)


def test_published_layouts_are_prepared_as_published_and_that_is_said(tmp_path: Path, capsys) -> None:
    torch.save(create_model("ir18").state_dict(), tmp_path / "adaface.ckpt")
    network = load_network(tmp_path / "adaface.ckpt")
    assert network.preprocessing == Preprocessing(color="BGR")
    said = capsys.readouterr().err
    assert "BGR" in said and "adaface.contract.json" in said and said.count("\n") == 1
    assert network.ancestry[0]["contract"].startswith("assumed")  # type: ignore[index]
    state = {f"net.{name}": value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "cvlface.pt")
    assert load_network(tmp_path / "cvlface.pt").preprocessing == Preprocessing(), "CVLface's are RGB"


def test_a_layout_that_nobody_published_must_be_stated(tmp_path: Path) -> None:
    torch.save(create_model("tinyresnet", 64).state_dict(), tmp_path / "own.pt")
    with pytest.raises(ContractError, match=r"own\.contract\.json"):
        load_weights(tmp_path / "own.pt")
    assert "contract.json" in (inspect_file(tmp_path / "own.pt").problem or "")


class Evil:
    def __reduce__(self):
        import os

        return (os.system, ("echo executed",))


def write_bad(kind: str, path: Path) -> None:
    network = create_model("mobilefacenet", 64)
    if kind == "another architecture":
        state = network.state_dict()
        state["conv3.weight"] = state.pop("linear1.conv.weight")
        torch.save(state, path)
    elif kind == "truncated":
        torch.save(network.state_dict(), path)
        path.write_bytes(path.read_bytes()[:100_000])
    elif kind == "pickle":
        torch.save({"model": Evil()}, path)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif kind == "no tensors":
        torch.save({"epoch": 3, "args": {"lr": 0.1}}, path)
    elif kind == "script":
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(path))
    elif kind == "foreign":
        torch.save({"encoder.weight": torch.zeros(3, 3), "encoder.bias": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("another architecture", r"nearest: \d+% of mobilefacenet's tensors .*linear1\.conv\.weight"),
        ("truncated", "truncated or damaged"),
        ("pickle", "pickle that wants .*system.* could run code"),
        ("empty", "is empty"),
        ("text", "no file of weights"),
        ("no tensors", "holds no state dict .*epoch, args"),
        ("script", "TorchScript"),
        ("foreign", r"no known layout; it begins with encoder\.weight \(3, 3\)"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_bad_checkpoint_is_refused_in_one_line(kind: str, words: str, tmp_path: Path, capfd) -> None:
    path = tmp_path / "bad.pt"
    write_bad(kind, path)
    with pytest.raises(VultusError, match=words) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value) and "bad.pt" in str(caught.value)
    assert "executed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "name", ["iresnet18", "mobilefacenet", "mobilefacenet_112x96", "mobilefacenet_insightface", "ir18"]
)
def test_an_onnx_file_becomes_the_trainable_architecture(name: str, tmp_path: Path) -> None:
    network = lively(name)
    path = tmp_path / "m.onnx"
    onnx.save(to_onnx(network), str(path))
    side = {**SIDE, "crop_size": list(network.preprocessing.crop_size)}  # type: ignore[union-attr]
    path.with_suffix(".contract.json").write_text(json.dumps(side))
    loaded = load_weights(path)
    assert loaded.architecture == name and loaded.embedding_dim == 64
    assert loaded.parity is not None and loaded.parity > 0.9999
    assert loaded.folded, "the exporter folds norms into convolutions"
    assert same(loaded.network, network) > 0.9999


@pytest.mark.parametrize("name", [pytest.param("iresnet18", marks=pytest.mark.slow), "mobilefacenet"])
def test_restored_norms_keep_the_embeddings_in_the_first_training_step(name: str, tmp_path: Path) -> None:
    network = lively(name)
    path = tmp_path / "m.onnx"
    onnx.save(to_onnx(network), str(path))
    path.with_suffix(".contract.json").write_text(json.dumps(SIDE))
    loaded = load_weights(path)
    crops = normalise(torch.from_numpy(parity_crops().copy()), loaded.preprocessing)

    def in_training(how: nn.Module) -> float:
        unit = nn.functional.normalize
        with torch.no_grad():
            return float((unit(how.train()(crops)) * unit(network(crops))).sum(1).min())

    folded = in_training(load_network(path))
    restore_statistics(loaded.network, loaded.folded, [crops])
    assert same(loaded.network, network) > 0.9999, "in evaluation nothing changes"
    assert in_training(loaded.network) > 0.999 > folded


def test_an_unknown_graph_becomes_a_network_of_its_own_layers(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 2, 1)
            self.norm = nn.BatchNorm2d(8)
            self.act = nn.PReLU(8)
            self.deep = nn.Conv2d(8, 16, 3, 4, groups=2)
            self.fc = nn.Linear(16, 24)

        def forward(self, x):
            x = self.norm(self.act(self.conv(x)))
            x = nn.functional.avg_pool2d(torch.sigmoid(self.deep(x)) * self.deep(x), 2)
            return self.fc(x.mean((2, 3)) + 0.5)

    network = Odd().eval()
    network.norm.running_mean.normal_()  # type: ignore[union-attr]
    path = tmp_path / "odd.onnx"
    onnx.save(to_onnx(network), str(path))
    path.with_suffix(".contract.json").write_text(json.dumps({**SIDE, "dim": 24}))
    loaded = load_weights(path)
    assert loaded.architecture == "graph" and isinstance(loaded.network, OnnxGraph)
    assert same(loaded.network, network) > 0.9999
    kinds = {type(module) for module in loaded.network.modules()}
    assert {nn.Conv2d, nn.BatchNorm2d, nn.PReLU, nn.Linear} <= kinds
    x = torch.randn(4, 3, 112, 112)
    loaded.network.train()(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in loaded.network.parameters())
    # exported again, and reopened from what a run keeps
    again = to_onnx(loaded.network)
    assert again.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    keep(loaded.network, tmp_path)
    empty = rebuild(loaded.network.architecture, tmp_path)  # type: ignore[arg-type]
    empty.load_state_dict(loaded.network.state_dict())
    assert same(empty, loaded.network) > 0.999999


def test_our_own_export_comes_back_with_its_contract_and_ancestry(tmp_path: Path) -> None:
    network = lively("mobilefacenet_112x96")
    chain = [{"name": "sface", "licence": "Apache-2.0", "commercial_use": "allowed", "source": "x", "sha256": "0" * 64}]
    export_onnx(network, tmp_path / "m.onnx", name="m", licence="CC0-1.0", provenance={"ancestry": chain})
    loaded = load_weights(tmp_path / "m.onnx")
    assert loaded.architecture == "mobilefacenet_112x96" and loaded.stated_by == "the file's own card"
    assert loaded.preprocessing.crop_size == (112, 96)
    *before, own = loaded.network.ancestry  # type: ignore[union-attr,misc]
    assert before == chain and own["licence"] == "CC0-1.0"
    assert same(loaded.network, network) > 0.9999


def detector(path: Path) -> None:
    """Several outputs."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.conv(x), self.conv(x) + 1

    torch.onnx.export(Two(), (torch.zeros(1, 3, 32, 32),), str(path), dynamo=False)


def map_of_features(path: Path) -> None:
    onnx.save(to_onnx(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())), str(path))


def truncated(path: Path) -> None:
    onnx.save(to_onnx(lively("tinyresnet")), str(path))
    path.write_bytes(path.read_bytes()[:50_000])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (detector, "2 outputs, a recogniser has one embedding"),
        (map_of_features, r"no embedding \(B, D\)"),
        (truncated, "no ONNX file"),
    ],
)
def test_a_bad_onnx_file_is_refused_in_one_line(make, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    make(path)
    path.with_suffix(".contract.json").write_text(json.dumps(SIDE))
    with pytest.raises(VultusError, match=words) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


def test_a_batch_of_exactly_one_is_freed(tmp_path: Path) -> None:
    network = lively("tinyresnet")
    path = tmp_path / "one.onnx"
    torch.onnx.export(network, (torch.zeros(1, 3, 112, 112),), str(path), dynamo=False)
    path.with_suffix(".contract.json").write_text(json.dumps(SIDE))
    assert same(load_network(path), network) > 0.9999


def test_a_contract_of_another_size_or_dimension_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(to_onnx(lively("mobilefacenet_112x96")), str(path))
    for wrong, words in (
        ({}, "takes 112x96 crops.*says 112x112"),
        ({"dim": 32, "crop_size": [112, 96]}, "64 dimensions"),
    ):
        path.with_suffix(".contract.json").write_text(json.dumps({**SIDE, **wrong}))
        with pytest.raises(ContractError, match=words):
            load_weights(path)


def test_parity_notices_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(to_onnx(lively("tinyresnet")), str(path))
    path.with_suffix(".contract.json").write_text(json.dumps(SIDE))
    honest = embed_crops

    def bent(network: nn.Module, crops: np.ndarray) -> np.ndarray:
        return honest(network, crops)[::-1]

    monkeypatch.setattr("vultus.models.weights.embed_crops", bent)
    with pytest.raises(ContractError, match="does not give the file's embeddings"):
        load_weights(path)
    assert load_weights(path, check=False).parity is None


def test_a_card_keeps_its_licence_and_a_run_is_no_file(tmp_path: Path) -> None:
    export_onnx(lively("tinyresnet"), tmp_path / "m.onnx", name="ours", licence="internal research only")
    (link,) = load_network(tmp_path / "m.onnx").ancestry  # type: ignore[union-attr,misc]
    assert link["name"] == "ours" and link["licence"] == "internal research only"
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    torch.save({"model": create_model("ir18", 64).state_dict()}, run / "best.pt")
    for where in (run / "best.pt", run):
        with pytest.raises(VultusError, match=r"vultus export .*run"):
            load_weights(where)


def test_a_side_file_is_taken_whole_or_refused(tmp_path: Path) -> None:
    from vultus.recognizer import load_recognizer

    path = tmp_path / "m.onnx"
    onnx.save(to_onnx(lively("tinyresnet")), str(path))
    path.with_suffix(".contract.json").write_text(json.dumps({**SIDE, "flip": True, "commercial_use": "forbidden"}))
    assert load_recognizer(path).contract.flip
    path.with_suffix(".contract.json").write_text(json.dumps({**SIDE, "commercial_use": "no"}))
    with pytest.raises(ContractError, match="commercial_use='no' must be one of allowed, forbidden, unclear"):
        load_recognizer(path)


def test_a_graph_that_prepares_its_crops_itself_stays_a_graph(tmp_path: Path) -> None:
    class Prepared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = lively("tinyresnet")

        def forward(self, x):
            return self.network(x[:, [2, 1, 0], :, 0:112] * 1.01 - 0.1)

    network = Prepared().eval()
    path = tmp_path / "m.onnx"
    onnx.save(to_onnx(network), str(path))
    path.with_suffix(".contract.json").write_text(json.dumps(SIDE))
    loaded = load_weights(path)
    assert loaded.architecture == "graph" and same(loaded.network, network) > 0.9999
