"""Fine-tuning: each key does what it says, on a small network that was trained before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.models.crops import embed_crops
from vultus.models.stages import stages
from vultus.training import Recipe, Run, open_run, train
from vultus.training.finetune import FineTuning
from vultus.training.head_rows import HeadRows
from vultus.training.recipe_sections import FinetuneSection
from vultus.training.run import load_model
from vultus.training.schedule import make_optimizer, set_rate

Wanted = Callable[..., Recipe]


def weights(run: Run, which: str = "last") -> dict[str, torch.Tensor]:
    return run.load(which)["model"]


def first_loss(run: Run) -> float:
    return next(float(row["loss"]) for row in run.rows() if row["loss"])


def names_of(network: torch.nn.Module, parts: list[str]) -> set[str]:
    """State dict names, statistics included, of these parts."""
    inside = {id(m) for name, modules in stages(network) if name in parts for top in modules for m in top.modules()}
    found = set()
    for path, module in network.named_modules():
        if id(module) in inside:
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            found |= {f"{path}.{name}" for name, _ in own}
    return found


def section(**keys: Any) -> FinetuneSection:
    return FinetuneSection.model_validate(keys)


def test_a_frozen_stage_stays_bit_for_bit_with_its_statistics(ancestor: Run, wanted: Wanted) -> None:
    network, which = load_model(ancestor)
    parts = [name for name, _ in stages(network)]
    frozen = parts[: len(parts) - 1]
    run = train(wanted(finetune={"freeze": frozen[-1], "freeze_norm": False}), quiet=True)
    before, after, still = weights(ancestor, which), weights(run), names_of(network, frozen)
    assert any("running_mean" in name for name in still)
    assert all(torch.equal(before[name], after[name]) == (name in still) for name in before)


def test_frozen_norm_keeps_statistics_and_trains_scale_and_shift(ancestor: Run, wanted: Wanted) -> None:
    network, which = load_model(ancestor)
    run = train(wanted(finetune={"freeze_norm": True}), quiet=True)
    before, after = weights(ancestor, which), weights(run)
    statistics = {name for name, _ in network.named_buffers()}
    assert statistics and all(torch.equal(before[name], after[name]) == (name in statistics) for name in before)


def test_each_part_has_the_rate_of_the_next_times_the_decay(ancestor: Run, wanted: Wanted) -> None:
    network, _ = load_model(ancestor)
    tuning = FineTuning(section(layer_decay=0.5), network)
    parts = stages(network)
    for distance, (_, modules) in enumerate(reversed(parts)):
        for parameter in (p for module in modules for p in module.parameters()):
            assert tuning.rates[parameter] == 0.5**distance
    settings = wanted().optimizer
    optimizer = make_optimizer([network], settings, tuning.rates)
    set_rate(optimizer, 0.1)
    found = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert found == {parameter: pytest.approx(0.1 * rate) for parameter, rate in tuning.rates.items()}


def test_lora_changes_the_weights_it_names_and_nothing_else(ancestor: Run, wanted: Wanted, faces: Path) -> None:
    network, which = load_model(ancestor)
    run = train(wanted(finetune={"lora_rank": 2}), quiet=True)
    before, after, state = weights(ancestor, which), weights(run), run.load()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fc.weight"}  # its only linear layer; no convolution is 1x1
    difference = after["fc.weight"] - before["fc.weight"]
    assert torch.linalg.matrix_rank(difference, rtol=1e-3) == 2
    assert all(torch.equal(state["training"][name.replace("fc.weight", "fc.parametrizations.weight.original")], value)
               for name, value in before.items())  # fmt: skip
    # the network in training, with its low-rank parts, gives what the merged one gives
    FineTuning(section(lora_rank=2), network)
    network.load_state_dict(state["training"])
    crops = FaceDataset.open(faces / "val").crops()[:6]
    np.testing.assert_allclose(embed_crops(network, crops), embed_crops(load_model(run, "last")[0], crops), atol=1e-5)


def test_lora_takes_pointwise_convolutions_and_scales_by_alpha() -> None:
    from vultus.training.lora import adaptable, add_lora, merged_state

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 3), torch.nn.Conv2d(8, 8, 1, groups=4), torch.nn.Flatten(),
        torch.nn.Linear(8, 4),
    )  # fmt: skip
    assert adaptable(network) == [network[0], network[4]]
    kept = network[0].weight.detach().clone()
    add_lora(network[0], 2, alpha=6.0)
    assert torch.equal(network[0].weight, kept)  # no change at the start
    change = network[0].parametrizations["weight"][0]
    torch.nn.init.normal_(change.up)
    expected = kept + 3.0 * (change.up @ change.down)[:, :, None, None]
    torch.testing.assert_close(network[0].weight, expected)
    merged = merged_state(network)
    assert set(merged) == {f"{i}.{name}" for i in (0, 1, 2, 4) for name in ("weight", "bias")}
    torch.testing.assert_close(merged["0.weight"], expected)


def test_mean_centres_start_far_below_random_ones(wanted: Wanted, ancestor: Run, faces: Path) -> None:
    loss = {"name": "arcface", "scale": 16.0, "margin": 0.1}
    options = {"augment": {"flip": 0.0}, "loss": loss, "training": {"epochs": 1, "batch_size": 48}}
    mean = train(wanted("mean", finetune={"freeze_norm": True}, **options), quiet=True)
    random = train(wanted("random", finetune={"freeze_norm": True, "centers": "random"}, **options), quiet=True)
    assert first_loss(mean) < 0.5 * first_loss(random)
    # the rows are the means themselves, as long as random ones
    still = wanted("still", finetune={}, optimizer={"lr": 1e-12, "weight_decay": 0.0}, training={"epochs": 1})
    centers = train(still, quiet=True).load()["loss"]["centers.weight"]
    data = FaceDataset.open(faces / "late")
    rows = embed_crops(load_model(ancestor)[0], data.crops())
    means = np.stack([rows[data.labels == label].mean(0) for label in range(len(data.identities))])
    means *= 0.01 * np.sqrt(32) / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(centers, means, atol=1e-5)


def test_subcentres_start_around_the_mean_and_not_on_one_another(wanted: Wanted) -> None:
    loss = {"name": "subcenter_arcface", "subcenters": 3}
    still = wanted(loss=loss, optimizer={"lr": 1e-12, "weight_decay": 0.0}, training={"epochs": 1})
    centers = train(still, quiet=True).load()["loss"]["centers.weight"].view(8, 3, 32)
    cosines = torch.nn.functional.cosine_similarity(centers[:, :1], centers[:, 1:], dim=2)
    assert (cosines > 0.97).all() and (cosines < 0.9999).all()


HEADS = {
    "sgd": ({"name": "sgd"}, {}),
    "adamw": ({"name": "adamw", "lr": 0.01}, {}),
    "sampled sgd": ({"name": "sgd"}, {"sample": 0.5}),
    "sampled adamw": ({"name": "adamw", "lr": 0.01}, {"sample": 0.5}),
}


@pytest.mark.parametrize("head", HEADS)
def test_kept_centres_stay_bit_for_bit_and_new_people_join(head: str, ancestor: Run, wanted: Wanted) -> None:
    optimizer, options = HEADS[head]
    loss = {"name": "arcface", "scale": 16.0, "margin": 0.1, **options}
    run = train(
        wanted(loss=loss, optimizer={"weight_decay": 0.1, **optimizer}, finetune={"keep_centers": True}), quiet=True
    )
    rows, old = HeadRows.load(run.path), HeadRows.load(ancestor.path)
    assert rows is not None and old is not None
    assert len(rows.identities) == 8 + 8 and set(old.identities) < set(rows.identities)  # 4 known, 4 new, 8 absent
    assert len(rows.kept) == 12
    _, which = load_model(ancestor)
    before, after = (r.load(w)["loss"]["centers.weight"] for r, w in ((ancestor, which), (run, "last")))
    for row, name in enumerate(rows.identities):
        if name in old.identities:
            assert torch.equal(after[row], before[old.identities.index(name)])
    # new people's centres did move
    still = {"optimizer": {"lr": 1e-12, "weight_decay": 0.0}, "training": {"epochs": 1}}
    unmoved = train(wanted("start", loss=loss, finetune={"keep_centers": True}, **still), quiet=True)
    start = unmoved.load()["loss"]["centers.weight"]
    new = [row for row in range(8) if row not in rows.kept]
    assert len(new) == 4 and not torch.isclose(after[new], start[new], atol=1e-7).all(1).any()


def test_distillation_holds_the_embeddings_near_the_originals(ancestor: Run, wanted: Wanted, faces: Path) -> None:
    crops = FaceDataset.open(faces / "test").crops()
    original = embed_crops(load_model(ancestor)[0], crops)
    drift = {}
    for weight in (0.0, 20.0):
        run = train(wanted(f"d{weight}", finetune={"distill": weight}, training={"epochs": 6}), quiet=True)
        drift[weight] = 1 - (original * embed_crops(load_model(run, "last")[0], crops)).sum(1).mean()
        logged = [float(row["drift"]) for row in run.rows() if row["drift"]]
        assert bool(logged) == (weight > 0)
        assert not (run.path / "targets.npy").exists()
    assert drift[20.0] < 0.6 * drift[0.0]


def test_distillation_compares_each_crop_with_its_own_original(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without augmentation and with the original's statistics nothing has drifted before the first step."""
    options = {"augment": {"flip": 0.0}, "finetune": {"distill": 1.0, "freeze_norm": True}}
    run = train(wanted(**options, training={"epochs": 1}), quiet=True)
    drift = [float(row["drift"]) for row in run.rows() if row["drift"]]
    assert drift[0] < 1e-5 < drift[-1]


def test_a_finetuned_run_stands_without_what_it_came_from(ancestor: Run, wanted: Wanted, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(ancestor.path, copy)
    run = train(wanted(model={"weights": str(copy)}), quiet=True)
    shutil.rmtree(copy)
    network, _ = load_model(open_run(run.path))
    assert embed_crops(network, np.zeros((1, 112, 112, 3), np.uint8)).shape == (1, 32)
    link = run.facts["ancestry"][-1]
    assert link["name"] == "run copy" and link["dataset"] == "faces/early" and str(tmp_path) not in str(run.facts)
    # whom the ancestor saw, this run has seen
    seen = run.seen
    assert seen is not None and len(seen.train) == 16


def test_the_original_is_measured_first_and_only_a_better_network_becomes_best(wanted: Wanted) -> None:
    run = train(wanted(optimizer={"lr": 1e-9}, training={"epochs": 1}, finetune={"freeze_norm": True}), quiet=True)
    first = run.rows()[0]
    assert int(first["step"]) == 0 and float(first["val_tar"]) == pytest.approx(run.facts["before"]["tar"], abs=1e-6)
    assert run.facts["helped"] is False and not run.checkpoint("best").exists()
    assert load_model(run)[1] == "last"


def test_without_the_loss_the_labels_play_no_part(wanted: Wanted) -> None:
    run = train(wanted(finetune={"distill": 1.0, "loss_weight": 0.0}, training={"epochs": 1}), quiet=True)
    last = [row for row in run.rows() if row["loss"]][-1]
    assert float(last["loss"]) == pytest.approx(float(last["drift"]), rel=1e-3)
    assert not last["target_cos"] and float(last["head_grad_norm"]) == 0


def test_a_blend_lies_between_the_original_and_the_trained_weights(ancestor: Run, wanted: Wanted) -> None:
    original = load_model(ancestor)[0].state_dict()
    run = train(wanted(finetune={"blend": 0.25}, training={"epochs": 1}), quiet=True)
    state = run.load("last")
    moved = 0
    for name, kept in state["model"].items():
        if kept.is_floating_point() and "running" not in name:
            torch.testing.assert_close(kept, original[name].lerp(state["training"][name], 0.25))
            moved += not torch.equal(kept, original[name])
    assert moved
    with pytest.raises(VultusError, match="set blend=1 and lower lora_alpha"):
        wanted(finetune={"blend": 0.5, "lora_rank": 2})
