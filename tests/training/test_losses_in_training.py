"""Every loss, and every kind of head, in a real run: it goes down, stays finite, and tells what it sees."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from vultus.errors import VultusError
from vultus.losses import list_losses
from vultus.training import Recipe, load_recipe, open_run, train


def recipe(procedural: Path, run: Path, loss: Any, **sections: dict[str, Any]) -> Recipe:
    values: dict[str, Any] = {
        "run": str(run),
        "data": {"train": str(procedural / "train"), "validation": None},
        "model": {"name": "tinyresnet", "embedding_dim": 32, "options": {"widths": [8, 16, 16]}},
        "loss": loss,
        "optimizer": {"lr": 0.05},
        "training": {"epochs": 4, "batch_size": 24, "workers": 0},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return Recipe.from_dict(values)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["loss"]]


@pytest.mark.parametrize("name", list_losses())
def test_a_short_run_goes_down_and_stays_finite(name: str, procedural: Path, tmp_path: Path) -> None:
    options = {"softmax": {}, "triplet": {}, "contrastive": {}}.get(name, {"scale": 16.0})
    run = train(recipe(procedural, tmp_path / "r", {"name": name, **options}), quiet=True)
    found = rows(run.path)
    values = [float(row["loss"]) for row in found]
    assert all(value == value and abs(value) < 1e6 for value in values)
    quarter = len(values) // 4
    assert sum(values[-quarter:]) < sum(values[:quarter])
    watched = ["target_cos", "norm_mean", "norm_std", "grad_norm"]
    watched += ["active"] if name in ("triplet", "contrastive") else ["margin", "past_pi", "head_grad_norm"]
    for key in watched:
        assert all(float(row[key]) == float(row[key]) for row in found), key
    assert all(p.isfinite().all() for p in run.load()["loss"].values() if isinstance(p, torch.Tensor))


HEADS: dict[str, dict[str, Any]] = {
    "sampled": {"sample": 0.5},
    "cut": {"engine": "cut", "keep": False},
    "filtered": {"filter_above": 0.9},
    "updated in backward": {"update_in_backward": True},
    "bf16 products": {"products": "bf16"},
}


@pytest.mark.parametrize("head", HEADS)
def test_every_head_trains_and_resumes(head: str, procedural: Path, tmp_path: Path) -> None:
    wanted = recipe(
        procedural,
        tmp_path / "whole",
        {"name": "arcface", "scale": 16.0, **HEADS[head]},
        optimizer={"clip": "network"},
        training={"epochs": 2},
    )
    whole = train(wanted, quiet=True)
    values = [float(row["loss"]) for row in rows(whole.path)]
    assert values[-1] < values[0]

    from vultus.training import loop

    steps = 0
    original = loop._Trainer._step

    def stopping(self: Any, batches: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 5:
            self._save()
            raise MemoryError
        return original(self, batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Trainer, "_step", stopping)
        with pytest.raises(MemoryError):
            train(wanted.model_copy(update={"run": str(tmp_path / "r")}), quiet=True)
    train(tmp_path / "r", resume=True, quiet=True)
    assert [row["loss"] for row in rows(tmp_path / "r")] == [row["loss"] for row in rows(whole.path)]


def test_a_word_is_enough_and_overrides_reach_the_parameters(procedural: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"run: {tmp_path}/run\ndata:\n  train: {procedural}/train\nloss: adaface\n")
    assert load_recipe(path).loss.name == "adaface"
    path.write_text(f"run: {tmp_path}/run\ndata:\n  train: {procedural}/train\nloss:\n  name: adaface\n")
    section = load_recipe(path, ["loss.h=0.5", "loss.sample=0.3"]).loss
    assert section.parameters == {"h": 0.5} and section.sample == 0.3


@pytest.mark.parametrize(
    ("loss", "sections", "words"),
    [
        ("arcfase", {}, 'did you mean "arcface"'),
        ({"name": "arcface", "marginn": 0.5}, {}, "did you mean margin"),
        ({"name": "arcface", "smaple": 0.5}, {}, "did you mean sample"),
        ({"name": "cosface", "h": 0.5}, {}, "it takes margin"),
        ({"name": "triplet", "sample": 0.5}, {}, "no class centres; remove sample"),
        ({"name": "triplet", "scale": 64}, {}, "no class centres; remove scale"),
        ("triplet", {"training": {"images_per_identity": 1}}, "images_per_identity must be 2"),
        ("triplet", {"training": {"accumulate": 2}}, "accumulate does not widen it"),
        ({"name": "arcface", "update_in_backward": True, "sample": 0.1}, {}, "choose one"),
        ({"name": "arcface", "update_in_backward": True}, {}, "optimizer.clip=network"),
        (
            {"name": "arcface", "update_in_backward": True},
            {"optimizer": {"clip": "network"}, "training": {"accumulate": 2}},
            "training.accumulate=1",
        ),
        (
            {"name": "arcface", "update_in_backward": True},
            {"optimizer": {"clip": "network"}, "training": {"precision": "fp16"}},
            "fp16 scales gradients",
        ),
        (
            {"name": "arcface", "update_in_backward": True},
            {"optimizer": {"clip": "network", "name": "adamw"}},
            "optimizer.name=sgd",
        ),
    ],
)
def test_what_cannot_work_is_said_at_once(
    loss: Any, sections: dict[str, Any], words: str, procedural: Path, tmp_path: Path
) -> None:
    with pytest.raises(VultusError, match=words):
        recipe(procedural, tmp_path / "r", loss, **sections)


@pytest.mark.parametrize("loss", [{"name": "arcface", "margin": 28.6}, {"name": "softmax", "scale": 64}])
def test_an_impossible_value_leaves_no_run_behind(loss: Any, procedural: Path, tmp_path: Path) -> None:
    with pytest.raises(VultusError, match=r"radians|no scale"):
        train(recipe(procedural, tmp_path / "r", loss), quiet=True)
    assert not (tmp_path / "r").exists()


def test_clipping_counts_sparse_gradients_and_can_leave_the_head_alone(procedural: Path, tmp_path: Path) -> None:
    norms = {}
    for clip in ("all", "network"):
        loss = {"name": "arcface", "sample": 0.5}
        settings = {"clip": clip, "clip_norm": 1e-3}
        train(recipe(procedural, tmp_path / clip, loss, optimizer=settings, training={"epochs": 1}), quiet=True)
        norms[clip] = rows(tmp_path / clip)
        for row in norms[clip]:
            assert 0 < float(row["head_grad_norm"]) < float(row["grad_norm"])
    centers = {clip: open_run(tmp_path / clip).load()["loss"]["centers.weight"] for clip in norms}
    assert centers["network"].norm() > 2 * centers["all"].norm()
