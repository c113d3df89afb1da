from __future__ import annotations

import pytest
import torch

from vultus.errors import VultusError
from vultus.models import create_model, describe_model, list_models
from vultus.models.describe import count_macs

EVERY = [name for name in list_models() if not name.startswith("timm/")]
TIMM = ["timm/mobilenetv3_small_050", "timm/test_resnet", "timm/test_vit"]


@pytest.mark.parametrize("name", [*EVERY, *TIMM])
def test_every_network_gives_one_embedding_for_each_crop(name: str):
    with torch.device("meta"):
        model = create_model(name, 96).eval()
        assert model(torch.empty(3, 3, *model.preprocessing.crop_size)).shape == (3, 96)  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "gflops"),
    [
        ("mobilefacenet_insightface", 0.875),
        ("iresnet18", 5.22),
        ("iresnet50", 12.62),
        ("edgeface_xxs", 0.0947),
        ("edgeface_xs_gamma_06", 0.154),
        ("edgeface_s_gamma_05", 0.306),
        ("edgeface_base", 1.399),
        ("vit_t", 3.0),
        ("vit_b", 22.9),
    ],
)
def test_twice_the_macs_are_the_published_flops(name: str, gflops: float):
    """arcface_torch's and EdgeFace's own tables; theirs counts some element-wise operations too."""
    assert 2 * describe_model(name).macs / 1e9 == pytest.approx(gflops, rel=0.005)


def test_counts_by_hand():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False), torch.nn.Flatten(), torch.nn.Linear(8 * 4 * 4, 5)
    )
    assert count_macs(network, (8, 8)) == 8 * 4 * 4 * 27 + 8 * 4 * 4 * 5
    assert network.training, "its mode is put back"


def test_says_what_a_backbone_is():
    info = describe_model("facenet")
    assert info.name == "inception_resnet_v1" and info.crop_size == (160, 160) and info.embedding_dim == 512
    assert "1503.03832" in info.paper and "MIT" in info.licence
    assert describe_model("mobilefacenet_112x96").embedding_dim == 128
    small, large = describe_model("mobilefacenet", 128), describe_model("mobilefacenet", 512)
    assert large.parameters - small.parameters == (512 + 2) * (512 - 128) == large.macs - small.macs + 2 * (512 - 128)
    assert "InsightFace" in describe_model("r50").licence


@pytest.mark.parametrize("name", TIMM)
def test_describes_timms_backbones(name: str):
    info = describe_model(name, 64)
    assert info.parameters == sum(parameter.numel() for parameter in create_model(name, 64).parameters())
    assert info.macs > 1e5 and info.licence.startswith("timm's weights")


def test_an_unknown_name_is_refused():
    with pytest.raises(VultusError, match="unknown"):
        describe_model("nonsense_net")
