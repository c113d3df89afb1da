from __future__ import annotations

import subprocess
import sys

import pytest

from vultus.errors import VultusError
from vultus.models import create_model, list_models, registry, resolve
from vultus.zoo import Preprocessing


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("iresnet100", "iresnet100"),
        ("resnet100", "iresnet100"),
        ("r100", "iresnet100"),
        ("R50", "iresnet50"),
        ("r200", "iresnet200"),
        ("ir_50", "ir50"),
        ("IR-18", "ir18"),
        ("ir_100", "ir101"),
        ("IR-SE-50", "irse50"),
        ("facenet", "inception_resnet_v1"),
        ("InceptionResnetV1", "inception_resnet_v1"),
        ("EdgeFace-XS-gamma-06", "edgeface_xs_gamma_06"),
        ("iresnet_34", "iresnet34"),
        ("mbf", "mobilefacenet_insightface"),
        ("mbf_large", "mobilefacenet_insightface_large"),
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
        ("ir_102", ["ir101"]),
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
    iresnets = [name for name in own if name.startswith("iresnet")]
    assert iresnets == ["iresnet18", "iresnet34", "iresnet50", "iresnet100", "iresnet200"]
    assert names[: len(own)] == own and len(names) > len(own)
    mobile = list_models("*Mobile*")
    assert mobile[0] == "mobilefacenet" and "timm/mobilenetv3_small_100" in mobile
    assert all("mobile" in name for name in mobile)
    timm_resnets = list_models("timm/resnet[0-9]*")
    assert timm_resnets.index("timm/resnet50") < timm_resnets.index("timm/resnet101")
    assert list_models("nothing*") == []


def test_every_name_resolves_to_itself():
    assert all(resolve(name) == name for name in [*list_models("[!t]*"), *list_models("timm/mobilenet*")])


def test_the_table_says_what_each_network_and_its_published_weights_want():
    for name, entry in registry.NATIVE.items():
        assert entry.name == name and entry.about and entry.paper and entry.licence
    published = {name: entry.published for name, entry in registry.NATIVE.items()}
    assert published["iresnet50"] == published["vit_b"] == published["edgeface_xs"] == Preprocessing()
    assert published["ir50"] == published["irse101"] == Preprocessing(color="BGR")
    assert published["mobilefacenet_112x96"] == Preprocessing(std=(128.0, 128.0, 128.0), crop_size=(112, 96))
    assert published["inception_resnet_v1"] == Preprocessing(std=(128.0, 128.0, 128.0), crop_size=(160, 160))
    imagenet = published["mobilefacenet_relu6"]
    assert [mean / 255 for mean in imagenet.mean] == pytest.approx([0.485, 0.456, 0.406])
    assert [std / 255 for std in imagenet.std] == pytest.approx([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("name", "size"),
    [("ir18", (112, 112)), ("mobilefacenet_112x96", (112, 96)), ("inception_resnet_v1", (160, 160))],
)
def test_a_network_from_scratch_takes_its_own_crop_size_and_arcfaces_pixels(name: str, size: tuple[int, int]):
    import torch

    with torch.device("meta"):
        assert create_model(name, 8).preprocessing == Preprocessing(crop_size=size)


def test_without_timm_there_are_the_native_models(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert list_models() == sorted(registry.NATIVE, key=registry._natural)
    assert resolve("r50") == "iresnet50"
    with pytest.raises(VultusError, match='extra "train"'):
        resolve("timm/resnet50")
    with pytest.raises(VultusError, match='extra "train"'):
        resolve("mobilenetv3_small")
    with pytest.raises(VultusError, match='extra "train"'):
        create_model("edgeface_xxs")


def test_importing_the_registry_loads_neither_torch_nor_timm():
    code = (
        "import sys; from vultus.models import resolve; resolve('r50'); assert not {'torch', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
