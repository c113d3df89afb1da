from __future__ import annotations

import pytest
import torch

from vultus.errors import VultusError
from vultus.models import create_model, list_models

NATIVE = [name for name in list_models() if not name.startswith("timm/")]
QUICK = ["iresnet18", "mobilefacenet", "mobilefacenet_050", "tinyresnet"]
DEPTHS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def batch_norm(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    entries = {f"{prefix}.{name}": (width,) for name in ("weight", "bias", "running_mean", "running_var")}
    return entries | {f"{prefix}.num_batches_tracked": ()}


def arcface_torch_entries(blocks: tuple[int, ...], dim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a `backbone.pth` of InsightFace's arcface_torch, by rule."""
    entries: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 3, 3), "prelu.weight": (64,)} | batch_norm("bn1", 64)
    before = 64
    for layer, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
        for block in range(count):
            prefix = f"layer{layer}.{block}"
            inputs = before if block == 0 else width
            entries |= batch_norm(f"{prefix}.bn1", inputs)
            entries |= batch_norm(f"{prefix}.bn2", width) | batch_norm(f"{prefix}.bn3", width)
            entries[f"{prefix}.conv1.weight"] = (width, inputs, 3, 3)
            entries[f"{prefix}.conv2.weight"] = (width, width, 3, 3)
            entries[f"{prefix}.prelu.weight"] = (width,)
            if block == 0:
                entries[f"{prefix}.downsample.0.weight"] = (width, inputs, 1, 1)
                entries |= batch_norm(f"{prefix}.downsample.1", width)
        before = width
    entries |= batch_norm("bn2", 512) | batch_norm("features", dim)
    return entries | {"fc.weight": (dim, 512 * 7 * 7), "fc.bias": (dim,)}


@pytest.mark.parametrize("name", DEPTHS)
def test_iresnet_has_the_state_dict_of_arcface_torch(name: str):
    with torch.device("meta"):
        model = create_model(name, 256)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == arcface_torch_entries(
        DEPTHS[name], 256
    )


@pytest.mark.parametrize(
    ("name", "millions"),
    [("iresnet18", 24.0256), ("iresnet34", 34.1393), ("iresnet50", 43.5908), ("iresnet100", 65.1562)],
)
def test_iresnet_counts_the_published_parameters(name: str, millions: float):
    with torch.device("meta"):
        model = create_model(name, 512)
    assert parameters(model) / 1e6 == pytest.approx(millions, abs=1e-4)


def test_iresnet_computes_what_the_architecture_says():
    """Every operation once, by functional calls on the state dict's names, against the modules."""
    from torch.nn import functional as F

    model = create_model("iresnet18", 32).eval()
    generator = torch.Generator().manual_seed(1)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    w = model.state_dict()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(w[f"{name}.{key}"] for key in keys), eps=1e-5)

    with torch.no_grad():
        crops = torch.randn(2, 3, 112, 112, generator=generator)
        x = F.prelu(norm(F.conv2d(crops, w["conv1.weight"], padding=1), "bn1"), w["prelu.weight"])
        for layer in (1, 2, 3, 4):
            for block in (0, 1):
                p, stride = f"layer{layer}.{block}", 2 - block
                y = F.conv2d(norm(x, f"{p}.bn1"), w[f"{p}.conv1.weight"], padding=1)
                y = F.prelu(norm(y, f"{p}.bn2"), w[f"{p}.prelu.weight"])
                y = norm(F.conv2d(y, w[f"{p}.conv2.weight"], stride=stride, padding=1), f"{p}.bn3")
                if block == 0:
                    x = norm(F.conv2d(x, w[f"{p}.downsample.0.weight"], stride=stride), f"{p}.downsample.1")
                x = x + y
        x = norm(F.linear(norm(x, "bn2").flatten(1), w["fc.weight"], w["fc.bias"]), "features")
        torch.testing.assert_close(model(crops), x, rtol=1e-4, atol=1e-4)


def test_iresnet_freezes_the_scale_of_its_embedding_at_one():
    model = create_model("iresnet18", 16)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["features.weight"]
    assert torch.equal(model.state_dict()["features.weight"], torch.ones(16))


def test_mobilefacenet_has_the_papers_size():
    """0.99 million parameters with the 128-dimensional embedding (the paper's Table 2, without PReLU and BN extras)."""
    with torch.device("meta"):
        assert parameters(create_model("mobilefacenet", 128)) / 1e6 == pytest.approx(0.99, abs=0.02)
        assert parameters(create_model("mobilefacenet_050", 128)) < 0.4e6
        narrow = create_model("mobilefacenet", 128, width=0.5)
        assert parameters(narrow) == parameters(create_model("mobilefacenet_050", 128))


@pytest.mark.parametrize("name", NATIVE)
def test_gives_one_embedding_for_each_crop(name: str):
    with torch.device("meta"):
        model = create_model(name, 96)
        assert model.eval()(torch.empty(3, 3, 112, 112)).shape == (3, 96)


@pytest.mark.parametrize("name", QUICK)
def test_learns_and_is_deterministic_in_evaluation(name: str):
    model = create_model(name, 32)
    crops = torch.randn(2, 3, 112, 112)
    model.train()(crops).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
    model.eval()
    with torch.no_grad():
        once = model(crops)
        assert torch.equal(once, model(crops))
        torch.testing.assert_close(model(crops[:1]), once[:1], rtol=1e-4, atol=1e-4)
        assert (once.norm(dim=1) - 1).abs().max() > 1e-3, "raw embeddings are not of unit length"


@pytest.mark.parametrize("name", QUICK)
def test_channels_last_computes_the_same(name: str):
    model = create_model(name, 32).eval()
    crops = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        expected = model(crops)
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore
        torch.testing.assert_close(model(crops.to(memory_format=torch.channels_last)), expected, rtol=1e-3, atol=1e-3)


def test_dropout_acts_in_training_only():
    model = create_model("iresnet18", 16, dropout=0.5).eval()
    crops = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        steady = model(crops)
        assert torch.equal(model(crops), steady)
        model.dropout.train()  # pyright: ignore
        assert not torch.equal(model(crops), steady)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("iresnet18", {"dropuot": 0.1}, 'no option "dropuot"; it takes dropout'),
        ("iresnet18", {"depth": 50}, 'no option "depth"'),
        ("iresnet18", {"dropout": 1.5}, "dropout"),
        ("mobilefacenet", {"width": 0}, "width"),
        ("iresnet18", {"embedding_dim": 0}, "embedding_dim=0"),
        ("iresnet18", {"pretrained": True}, "no pretrained weights"),
    ],
)
def test_a_wrong_option_is_named(name: str, options: dict, words: str):
    with pytest.raises(VultusError, match=words):
        create_model(name, **options)
