from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from vultus.errors import VultusError
from vultus.models import create_model
from vultus.models.crops import embed_crops, preprocessing_of
from vultus.models.ir import Block
from vultus.models.vit import Attention, DropPath, FaceViT
from vultus.recognizer.export import to_onnx

SLOW = ["iresnet18", "ir18", "irse50", "mobilefacenet_insightface", "vit_t"]
QUICK = [
    "mobilefacenet",
    "mobilefacenet_050",
    "mobilefacenet_112x96",
    "mobilefacenet_relu6",
    "edgeface_xxs",
    "edgeface_xs_gamma_06",
    "inception_resnet_v1",
    "tinyresnet",
    "timm/mobilenetv3_small_050",
    *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
]
DEPTHS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "iresnet200": (6, 26, 60, 6),
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


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


def test_ir_shortcut_takes_every_second_pixel_where_the_width_stays():
    block = Block(8, 8, 2, bottleneck=False, squeeze=False).eval()
    # The branch is silent: its last BN has running statistics of zero and one.
    nn.init.zeros_(block.res_layer.get_parameter("4.weight"))
    x = torch.randn(1, 8, 6, 6)
    torch.testing.assert_close(block(x), x[:, :, ::2, ::2])


def test_squeeze_excitation_scales_the_branch_alone():
    block = Block(16, 16, 1, bottleneck=False, squeeze=True).eval()
    nn.init.zeros_(block.res_layer.get_parameter("se_block.fc2.weight"))  # a gate of sigmoid(0)
    x = torch.randn(1, 16, 6, 6)
    torch.testing.assert_close(block(x), x + 0.5 * block.res_layer[:6](x))


def test_vit_attends_as_the_formula_says():
    attention, x = Attention(64), torch.randn(2, 5, 64)
    q, k, v = attention.qkv(x).reshape(2, 5, 3, 8, 8).permute(2, 0, 3, 1, 4)
    expected = ((q @ k.transpose(-2, -1)) / 8**0.5).softmax(-1) @ v
    torch.testing.assert_close(attention(x), attention.proj(expected.transpose(1, 2).reshape(2, 5, 64)))


def test_vit_hides_patches_in_training_and_puts_the_others_back_in_their_places():
    model = FaceViT(width=16, depth=2, embedding_dim=8, drop_path=0.0, mask_ratio=0.25)
    model.blocks = nn.ModuleList()  # tokens pass unchanged, so that the head's input tells where each one went
    model.norm = nn.Identity()  # pyright: ignore
    model.feature = nn.Sequential(nn.Identity())
    crops = torch.randn(2, 3, 112, 112)
    whole = model.eval()(crops).reshape(2, 144, 16)
    shown = model.train()(crops).reshape(2, 144, 16)
    hidden = (shown == model.mask_token).all(dim=2)
    assert hidden.sum(dim=1).tolist() == [36, 36] and not torch.equal(hidden[0], hidden[1])
    torch.testing.assert_close(shown[~hidden], whole[~hidden])


def test_dropped_paths_keep_their_expectation():
    drop, x = DropPath(0.25).train(), torch.ones(4000, 1, 1)
    kept = drop(x)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize("name", QUICK)
def test_learns_and_is_deterministic_in_evaluation(name: str):
    model = create_model(name, 32)
    crops = torch.randn(2, 3, *preprocessing_of(model).crop_size)
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
def test_exports_with_a_dynamic_batch(name: str):
    model = create_model(name, 16).eval()
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        crops = torch.randn(count, 3, *preprocessing_of(model).crop_size)
        with torch.no_grad():
            expected = model(crops).numpy()
        found = np.asarray(session.run(None, {"crops": crops.numpy()})[0])
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", QUICK)
def test_embeds_crops_of_112_to_unit_length(name: str):
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    embeddings = embed_crops(create_model(name, 16).eval(), crops)
    assert embeddings.shape == (3, 16) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_channels_last_computes_the_same(name: str):
    model = create_model(name, 32).eval()
    crops = torch.randn(2, 3, *preprocessing_of(model).crop_size)
    with torch.no_grad():
        expected = model(crops)
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore
        found = model(crops.to(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * max(1, expected.abs().max().item()))


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
        ("edgeface_xs", {"gamma": 0}, "gamma=0"),
        ("edgeface_xs_gamma_06", {"gamma": 0.5}, 'no option "gamma"'),
        ("vit_t", {"mask_ratio": 1.0}, "mask_ratio=1.0"),
        ("vit_t", {"drop_path": -0.1}, "drop_path=-0.1"),
        ("iresnet18", {"embedding_dim": 0}, "embedding_dim=0"),
        ("iresnet18", {"pretrained": True}, "no pretrained weights"),
    ],
)
def test_a_wrong_option_is_named(name: str, options: dict, words: str):
    with pytest.raises(VultusError, match=words):
        create_model(name, **options)
