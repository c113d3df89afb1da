from __future__ import annotations

import pytest
import torch

from vultus.errors import VultusError
from vultus.models import create_model


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch):
    """As with HF_HUB_OFFLINE=1, which the hub reads once at import: these tests never wait for a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("name", ["timm/mobilenetv3_small_050", "timm/test_resnet", "timm/test_vit", "timm/levit_128s"])
def test_a_convolutional_network_and_a_transformer_embed_face_crops(name: str):
    model = create_model(name, 24, dropout=0.1)
    crops = torch.randn(2, 3, 112, 112)
    model.train()(crops).square().sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    assert any(parameter.grad is not None for parameter in model.backbone.parameters())  # pyright: ignore
    model.eval()
    with torch.no_grad():
        once = model(crops)
        assert once.shape == (2, 24)
        assert torch.equal(once, model(crops))


def test_the_head_is_norm_dropout_linear_norm():
    model = create_model("timm/mobilenetv3_small_050", 24, dropout=0.3)
    head = [type(module).__name__ for name, module in model.named_children() if name != "backbone"]
    assert head == ["BatchNorm1d", "Dropout", "Linear", "BatchNorm1d"]
    assert model.dropout.p == 0.3 and model.fc.out_features == 24  # pyright: ignore


def test_options_of_timm_are_passed_on():
    model = create_model("timm/test_resnet", 24, output_stride=8)
    assert model.backbone.feature_info[-1]["reduction"] == 8  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("timm/mobilenetv3_small_100", {"pretrained": True}, "could not download .* pass pretrained=false"),
        ("timm/test_vit", {"pretrained": True}, "could not download"),
        ("timm/test_resnet", {"nonsense": 3}, "nonsense"),
        ("timm/maxvit_pico_rw_256", {}, "cannot work on 112 x 112 crops"),
        ("timm/test_resnet", {"dropout": 2}, "dropout"),
    ],
)
def test_what_timm_cannot_do_is_one_clear_line(name: str, options: dict, words: str):
    with pytest.raises(VultusError, match=words) as caught:
        create_model(name, 24, **options)
    assert "\n" not in str(caught.value)
