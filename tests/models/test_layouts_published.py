"""Names, shapes and sizes of the published state dicts, by rule and from their papers' and repositories' tables."""

from __future__ import annotations

import pytest
import torch

from vultus.models import create_model

Entries = dict[str, tuple[int, ...]]


def entries(name: str, dim: int, **options) -> Entries:
    with torch.device("meta"):
        model = create_model(name, dim, **options)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def batch_norm(prefix: str, width: int, affine: bool = True) -> Entries:
    names = ("weight", "bias", "running_mean", "running_var") if affine else ("running_mean", "running_var")
    return {f"{prefix}.{name}": (width,) for name in names} | {f"{prefix}.num_batches_tracked": ()}


def adaface_entries(blocks: tuple[int, ...], dim: int, squeeze: bool) -> Entries:
    """A backbone of AdaFace's `net.py` with plain blocks: the shortcut has weights only where the width grows."""
    found: Entries = {"input_layer.0.weight": (64, 3, 3, 3), "input_layer.2.weight": (64,)}
    found |= batch_norm("input_layer.1", 64)
    index, before = 0, 64
    for count, width in zip(blocks, (64, 128, 256, 512), strict=True):
        for _ in range(count):
            p = f"body.{index}"
            if before != width:
                found[f"{p}.shortcut_layer.0.weight"] = (width, before, 1, 1)
                found |= batch_norm(f"{p}.shortcut_layer.1", width)
            found |= batch_norm(f"{p}.res_layer.0", before)
            found[f"{p}.res_layer.1.weight"] = (width, before, 3, 3)
            found |= batch_norm(f"{p}.res_layer.2", width)
            found[f"{p}.res_layer.3.weight"] = (width,)
            found[f"{p}.res_layer.4.weight"] = (width, width, 3, 3)
            found |= batch_norm(f"{p}.res_layer.5", width)
            if squeeze:
                found[f"{p}.res_layer.se_block.fc1.weight"] = (width // 16, width, 1, 1)
                found[f"{p}.res_layer.se_block.fc2.weight"] = (width, width // 16, 1, 1)
            index, before = index + 1, width
    found |= batch_norm("output_layer.0", 512) | batch_norm("output_layer.4", dim, affine=False)
    return found | {"output_layer.3.weight": (dim, 512 * 49), "output_layer.3.bias": (dim,)}


@pytest.mark.parametrize(
    ("name", "blocks", "squeeze"),
    [
        ("ir18", (2, 2, 2, 2), False),
        ("ir50", (3, 4, 14, 3), False),
        ("ir101", (3, 13, 30, 3), False),
        ("irse50", (3, 4, 14, 3), True),
    ],
)
def test_ir_has_the_state_dict_of_adaface(name: str, blocks: tuple[int, ...], squeeze: bool):
    assert entries(name, 256) == adaface_entries(blocks, 256, squeeze)


def test_deep_ir_has_adafaces_bottlenecks():
    found = entries("ir152", 512)
    assert found["body.0.shortcut_layer.0.weight"] == (256, 64, 1, 1)
    kernels = [found[f"body.3.res_layer.{i}.weight"] for i in (1, 4, 7)]
    assert kernels == [(128, 256, 1, 1), (128, 128, 3, 3), (512, 128, 1, 1)]
    assert found["output_layer.3.weight"] == (512, 2048 * 49) and "body.49.res_layer.8.weight" in found
    assert "body.50.res_layer.0.weight" not in found


def conv_norm(prefix: str, out: int, inputs: int, kernel: int, linear: bool = False) -> Entries:
    found: Entries = {f"{prefix}.layers.0.weight": (out, inputs, kernel, kernel)} | batch_norm(
        f"{prefix}.layers.1", out
    )
    return found if linear else found | {f"{prefix}.layers.2.weight": (out,)}


def inverted(prefix: str, before: int, hidden: int, after: int) -> Entries:
    return (
        conv_norm(f"{prefix}.layers.0", hidden, before, 1)
        | conv_norm(f"{prefix}.layers.1", hidden, 1, 3)
        | conv_norm(f"{prefix}.layers.2", after, hidden, 1, linear=True)
    )


def insightface_entries(scale: int, blocks: tuple[int, ...], dim: int) -> Entries:
    """A `backbone.pth` of arcface_torch's mbf or mbf_large."""
    narrow, wide = 64 * scale, 128 * scale
    found = conv_norm("layers.0", narrow, 3, 3)
    if blocks[0] == 1:
        found |= conv_norm("layers.1", narrow, narrow // 64, 3)
    else:
        for i in range(blocks[0]):
            found |= inverted(f"layers.1.layers.{i}", narrow, 128, narrow)
    found |= inverted("layers.2", narrow, 128, narrow)
    found |= inverted("layers.4", narrow, 256, wide) | inverted("layers.6", wide, 512, wide)
    for layer, width, hidden, count in (
        (3, narrow, 128, blocks[1]),
        (5, wide, 256, blocks[2]),
        (7, wide, 256, blocks[3]),
    ):
        for i in range(count):
            found |= inverted(f"layers.{layer}.layers.{i}", width, hidden, width)
    found |= conv_norm("conv_sep", 512, wide, 1) | conv_norm("features.layers.0", 512, 1, 7, linear=True)
    return found | {"features.layers.2.weight": (dim, 512)} | batch_norm("features.layers.3", dim)


@pytest.mark.parametrize(
    ("name", "scale", "blocks"),
    [
        ("mobilefacenet_insightface", 2, (1, 4, 6, 2)),
        ("mobilefacenet_insightface_deep", 2, (2, 8, 12, 4)),
        ("mobilefacenet_insightface_large", 4, (2, 8, 12, 4)),
    ],
)
def test_mobilefacenet_has_the_state_dict_of_arcface_torch(name: str, scale: int, blocks: tuple[int, ...]):
    assert entries(name, 128) == insightface_entries(scale, blocks, 128)


def test_vit_has_the_state_dict_of_arcface_torch():
    found = entries("vit_t", 128)
    expected: Entries = {"pos_embed": (1, 144, 256), "mask_token": (1, 1, 256)}
    expected |= {"patch_embed.proj.weight": (256, 3, 9, 9), "patch_embed.proj.bias": (256,)}
    for i in range(12):
        p = f"blocks.{i}"
        expected |= {f"{p}.{norm}.{key}": (256,) for norm in ("norm1", "norm2") for key in ("weight", "bias")}
        expected |= {f"{p}.attn.qkv.weight": (768, 256)}
        expected |= {f"{p}.attn.proj.weight": (256, 256), f"{p}.attn.proj.bias": (256,)}
        expected |= {f"{p}.mlp.fc1.weight": (1024, 256), f"{p}.mlp.fc1.bias": (1024,)}
        expected |= {f"{p}.mlp.fc2.weight": (256, 1024), f"{p}.mlp.fc2.bias": (256,)}
    expected |= {"norm.weight": (256,), "norm.bias": (256,)}
    expected |= {"feature.0.weight": (256, 256 * 144), "feature.2.weight": (128, 256)}
    assert found == expected | batch_norm("feature.1", 256) | batch_norm("feature.3", 128)


def test_inception_resnet_has_the_names_of_facenet_pytorch():
    found = entries("inception_resnet_v1", 512)
    shapes = {
        "conv2d_1a.conv.weight": (32, 3, 3, 3),
        "conv2d_4b.bn.running_var": (256,),
        "repeat_1.4.branch2.2.conv.weight": (32, 32, 3, 3),
        "repeat_1.0.conv2d.bias": (256,),
        "mixed_6a.branch0.conv.weight": (384, 256, 3, 3),
        "mixed_6a.branch1.2.conv.weight": (256, 192, 3, 3),
        "repeat_2.9.branch1.1.conv.weight": (128, 128, 1, 7),
        "repeat_2.9.branch1.2.conv.weight": (128, 128, 7, 1),
        "mixed_7a.branch2.2.conv.weight": (256, 256, 3, 3),
        "repeat_3.4.branch1.1.conv.weight": (192, 192, 1, 3),
        "block8.conv2d.weight": (1792, 384, 1, 1),
        "last_linear.weight": (512, 1792),
        "last_bn.bias": (512,),
    }
    assert {key: found[key] for key in shapes} == shapes
    first = {key.split(".")[0] for key in found}
    assert first == {
        *(f"conv2d_{place}" for place in ("1a", "2a", "2b", "3b", "4a", "4b")),
        *("repeat_1", "repeat_2", "repeat_3", "mixed_6a", "mixed_7a", "block8", "last_linear", "last_bn"),
    }


def test_low_rank_edgeface_splits_every_linear_layer():
    """As Idiap's code, whose exemption of names with "head" never meets timm's `head.fc`."""
    plain, low = entries("edgeface_xs", 512), entries("edgeface_xs_gamma_06", 512)
    matrices = {
        key[: -len(".weight")]: shape for key, shape in plain.items() if key.endswith("weight") and len(shape) == 2
    }
    assert "model.head.fc" in matrices
    for key, (out, inputs) in matrices.items():
        rank = int(min(out, inputs) * 0.6)
        assert low.pop(f"{key}.linear1.weight") == (rank, inputs)
        assert low.pop(f"{key}.linear2.weight") == (out, rank)
        assert low.pop(f"{key}.linear2.bias", None) == plain.pop(f"{key}.bias", None)
        plain.pop(f"{key}.weight")
    assert low == plain


@pytest.mark.parametrize(
    ("name", "dim", "millions"),
    [
        ("iresnet18", 512, 24.0256),
        ("iresnet34", 512, 34.1393),
        ("iresnet50", 512, 43.5908),
        ("iresnet100", 512, 65.1562),
        ("ir101", 512, 65.15),
        ("edgeface_xxs", 512, 1.24),
        ("edgeface_base", 512, 18.23),
        ("edgeface_xs_gamma_06", 512, 1.77),
        ("edgeface_s_gamma_05", 512, 3.65),
        ("mobilefacenet", 128, 1.0),  # the paper's 0.99 million do not count PReLU's and BN's
    ],
)
def test_counts_the_published_parameters(name: str, dim: int, millions: float):
    with torch.device("meta"):
        found = sum(parameter.numel() for parameter in create_model(name, dim).parameters())
    digits = len(str(millions).partition(".")[2])
    assert round(found / 1e6, digits) == millions


def test_half_the_width_is_an_option_of_mobilefacenet():
    assert entries("mobilefacenet", 128, width=0.5) == entries("mobilefacenet_050", 128)
    assert entries("mobilefacenet_050", 128)["conv2.conv.weight"] == (256, 64, 1, 1)


def test_the_crop_of_96_columns_changes_the_last_kernel_only():
    square, narrow = entries("mobilefacenet", 128), entries("mobilefacenet_112x96", 128)
    assert {key for key in square if square[key] != narrow[key]} == {"linear7.conv.weight"}
    assert narrow["linear7.conv.weight"] == (512, 1, 7, 6)
