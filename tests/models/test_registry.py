from __future__ import annotations

import subprocess
import sys

import pytest

from vultus.errors import VultusError
from vultus.models import list_models, registry, resolve


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("iresnet100", "iresnet100"),
        ("resnet100", "iresnet100"),
        ("r100", "iresnet100"),
        ("R50", "iresnet50"),
        ("ir_50", "iresnet50"),
        ("IR-18", "iresnet18"),
        ("iresnet_34", "iresnet34"),
        ("mbf", "mobilefacenet"),
        ("MobileFaceNet", "mobilefacenet"),
        ("mobilefacenet-050", "mobilefacenet_050"),
        ("tiny_resnet", "tinyresnet"),
        ("mobilenetv3_small", "timm/mobilenetv3_small_100"),
        ("mobilenetv3_small_100", "timm/mobilenetv3_small_100"),
        ("timm/mobilenetv3-small-100", "timm/mobilenetv3_small_100"),
        ("timm/resnet50", "timm/resnet50"),
        ("timm/ResNet50.a1_in1k", "timm/resnet50.a1_in1k"),
        ("resnet101", "timm/resnet101"),
        ("vit_small_patch16_224", "timm/vit_small_patch16_224"),
    ],
)
def test_resolves_what_people_type(typed: str, name: str):
    assert resolve(typed) == name
    assert resolve(name) == name


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("resnet50", ["ambiguous", "iresnet50", "timm/resnet50"]),
        ("ResNet-18", ["ambiguous", "iresnet18", "timm/resnet18"]),
        ("iresnet51", ["unknown", "iresnet50"]),
        ("ir_101", ["iresnet100"]),
        ("mobilefacnet", ["mobilefacenet"]),
        ("vit_small", ["timm/vit_small_patch"]),
        ("timm/mobilnetv3_small_100", ["timm/mobilenetv3_small_100"]),
        ("timm/resnet50.nonsense", ["no weights tagged", "a1_in1k"]),
        ("qqqqqqqq", ["list_models"]),
        ("", ["unknown"]),
    ],
)
def test_suggests_what_was_meant(typed: str, words: list[str]):
    with pytest.raises(VultusError) as caught:
        resolve(typed)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_lists_own_models_first_in_natural_order():
    names = list_models()
    own = [name for name in names if not name.startswith("timm/")]
    assert own[:4] == ["iresnet18", "iresnet34", "iresnet50", "iresnet100"]
    assert names[: len(own)] == own and len(names) > len(own)
    mobile = list_models("*Mobile*")
    assert mobile[0] == "mobilefacenet" and "timm/mobilenetv3_small_100" in mobile
    assert all("mobile" in name for name in mobile)
    timm_resnets = list_models("timm/resnet[0-9]*")
    assert timm_resnets.index("timm/resnet50") < timm_resnets.index("timm/resnet101")
    assert list_models("nothing*") == []


def test_every_name_resolves_to_itself():
    assert all(resolve(name) == name for name in [*list_models("[!t]*"), *list_models("timm/mobilenet*")])


def test_without_timm_there_are_the_native_models(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert list_models() == sorted(registry.NATIVE, key=registry._natural)
    assert resolve("r50") == "iresnet50"
    with pytest.raises(VultusError, match='extra "train"'):
        resolve("timm/resnet50")
    with pytest.raises(VultusError, match='extra "train"'):
        resolve("mobilenetv3_small")


def test_importing_the_registry_loads_neither_torch_nor_timm():
    code = (
        "import sys; from vultus.models import resolve; resolve('r50'); assert not {'torch', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
