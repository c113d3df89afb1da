from __future__ import annotations

import pytest
import torch
from torch import nn

from vultus.models import create_model, list_models
from vultus.models.stages import stages

NATIVE = [name for name in list_models() if not name.startswith("timm/")]
TIMM = ["timm/mobilenetv3_small_050", "timm/test_resnet", "timm/test_vit", "timm/vit_tiny_patch16_224", "timm/vgg11"]
FOUR = ["stem", "stage1", "stage2", "stage3", "stage4", "head"]


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, 16)


def parameters_of(network: nn.Module) -> list[list[nn.Parameter]]:
    return [[p for module in modules for p in module.parameters()] for _, modules in stages(network)]


def assert_partition(network: nn.Module) -> None:
    found = [id(parameter) for part in parameters_of(network) for parameter in part]
    assert len(found) == len(set(found)), "a parameter lies in two parts"
    assert set(found) == {id(parameter) for parameter in network.parameters()}
    names = [name for name, _ in stages(network)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [*NATIVE, *TIMM])
def test_every_parameter_lies_in_exactly_one_part(name: str):
    network = on_meta(name)
    assert_partition(network)
    names = [part for part, _ in stages(network)]
    assert names[-1] == "head" and set(names) <= set(FOUR) and names == sorted(names, key=FOUR.index)
    assert len(names) >= 4


@pytest.mark.parametrize("name", ["iresnet50", "ir50", "vit_t", "edgeface_xs", "timm/vit_tiny_patch16_224"])
def test_deep_networks_have_four_stages(name: str):
    assert [part for part, _ in stages(on_meta(name))] == FOUR


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ir18", (112, 112)),
        ("mobilefacenet", (112, 112)),
        ("mobilefacenet_insightface", (112, 112)),
        ("inception_resnet_v1", (160, 160)),
        ("tinyresnet", (112, 112)),
        ("edgeface_xxs", (112, 112)),
        ("vit_t", (112, 112)),
        ("timm/test_resnet", (112, 112)),
        ("timm/mobilenetv3_small_050", (112, 112)),
        ("timm/test_vit", (112, 112)),
    ],
)
def test_parts_are_in_the_order_of_the_data(name: str, size: tuple[int, int]):
    """Each module with parameters of its own runs in the order of its part."""
    network = on_meta(name).eval()
    part_of = {
        id(module): index
        for index, (_, modules) in enumerate(stages(network))
        for top in modules
        for module in top.modules()
    }
    order: list[int] = []
    for module in network.modules():
        if id(module) in part_of and any(True for _ in module.parameters(recurse=False)):
            module.register_forward_pre_hook(lambda module, _: order.append(part_of[id(module)]))
    network(torch.empty(1, 3, *size, device="meta"))
    assert order and order == sorted(order)


@pytest.mark.parametrize("name", ["ir18", "mobilefacenet", "mobilefacenet_insightface", "tinyresnet", "iresnet18"])
def test_a_stage_starts_where_the_grid_shrinks(name: str):
    for part, modules in stages(on_meta(name)):
        if part.startswith("stage"):
            halving = [m for top in modules for m in top.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
            assert {m.stride for m in halving} in ({(2, 2)}, {(4, 4)}), part


def test_position_table_goes_with_the_stem_and_mask_with_the_head():
    network = on_meta("vit_t")
    first, *_, last = parameters_of(network)
    assert any(p is network.pos_embed for p in first) and any(p is network.mask_token for p in last)
    timm = on_meta("timm/test_vit")
    assert any(p is timm.backbone.pos_embed for p in parameters_of(timm)[0])  # pyright: ignore


class Wrapper(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


def test_any_other_network_comes_as_its_children():
    network = nn.Sequential()
    for name, module in (("first", nn.Conv2d(3, 4, 3)), ("act", nn.ReLU()), ("second", nn.Linear(4, 5))):
        network.add_module(name, module)
    assert [name for name, _ in stages(network)] == ["first", "second"]
    assert [name for name, _ in stages(Wrapper(network))] == ["first", "second"]
    network.register_parameter("loose", nn.Parameter(torch.zeros(1)))
    assert_partition(network)
    assert_partition(nn.Linear(2, 2))


def test_a_converted_graph_comes_in_five_runs_of_about_equal_length():
    network = nn.Sequential(*(module for _ in range(23) for module in (nn.Linear(2, 2), nn.ReLU())))
    parts = stages(network)
    assert [name for name, _ in parts] == ["stage1", "stage2", "stage3", "stage4", "stage5"]
    assert {len(modules) for _, modules in parts} == {4, 5}
    assert_partition(network)


def test_a_timm_network_without_a_plan_comes_as_its_children(monkeypatch: pytest.MonkeyPatch):
    network = on_meta("timm/test_resnet")
    monkeypatch.setattr(type(network.backbone), "group_matcher", None)
    assert_partition(network)
    names = [name for name, _ in stages(network)]
    assert names[0] == "conv1" and names[-1] == "head"
