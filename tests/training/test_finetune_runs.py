"""Fine-tuning as a run: resuming, averaging, stopping, refusing, and the command."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from vultus.data import FaceDataset, Seen
from vultus.errors import VultusError
from vultus.evaluation.intervals.seeds import SeedResult
from vultus.training import Recipe, Run, load_recipe, loop, open_run, train
from vultus.training.ema import Deployed
from vultus.training.run import load_model
from vultus.training.validation import Selection, Validation, ValidationResult
from vultus.workflows import evaluate, export
from vultus.workflows.finetune import RECIPE, finetune

Wanted = Callable[..., Recipe]


def interrupted(recipe: Recipe, step: int) -> None:
    """Train until just before this step, as if the process had been killed after a save."""
    original = loop._Trainer._step

    def stopping(self: Any, batches: Any) -> Any:
        if self.step == step:
            self._save()
            raise MemoryError
        return original(self, batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Trainer, "_step", stopping)
        with pytest.raises(MemoryError):
            train(recipe, quiet=True)


EVERYTHING = {
    "full": {"finetune": {"distill": 1.0, "layer_decay": 0.7, "freeze_norm": True, "blend": 0.6}},
    "lora": {"finetune": {"distill": 1.0, "lora_rank": 2, "lora_alpha": 4}},
    "kept": {"finetune": {"keep_centers": True}, "loss": {"sample": 0.5}},
}


@pytest.mark.parametrize("kind", EVERYTHING)
def test_an_interrupted_finetuning_resumes_exactly(kind: str, wanted: Wanted) -> None:
    torch.set_num_threads(1)
    options = {"training": {"epochs": 4, "ema": 0.9, "patience": 3, "evaluate_every": 2}, **EVERYTHING[kind]}
    whole = train(wanted("whole", **options), quiet=True)
    interrupted(wanted("cut", **options), 5)
    cut = train(Path(wanted("cut").run), resume=True, quiet=True)
    timing = ("seconds", "images_per_second")
    rows = [[{k: v for k, v in row.items() if k not in timing} for row in run.rows()] for run in (whole, cut)]
    assert rows[0] == rows[1]
    ours, theirs = cut.load(), whole.load()
    assert ours["step"] == theirs["step"] and ours["stale"] == theirs["stale"] and ours["best"] == theirs["best"]
    for part in ("model", "loss", "training", "average"):
        assert ours[part].keys() == theirs[part].keys()
        assert all(torch.equal(ours[part][name], theirs[part][name]) for name in ours[part]), part


def test_the_average_follows_its_recurrence() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average = Deployed(network, 0.5)
    expected = copy.deepcopy(network.state_dict())
    for step in range(1, 9):
        with torch.no_grad():
            for value in network.state_dict().values():
                value.add_(1 if value.dtype == torch.int64 else torch.randn(value.shape))
        average.follow(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            trained = name in dict(network.named_parameters())
            expected[name] = decay * expected[name] + (1 - decay) * value if trained else value.clone()
    for name, value in average.state()["model"].items():
        torch.testing.assert_close(value, expected[name])
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_the_average_is_what_is_validated_and_kept(wanted: Wanted, faces: Path) -> None:
    run = train(wanted(training={"ema": 0.9, "epochs": 1}), quiet=True)
    state = run.load()
    assert not torch.equal(state["model"]["fc.weight"], state["training"]["fc.weight"])
    validation = Validation.prepare(str(faces / "val"), FaceDataset.open(faces / "late"))
    assert validation is not None
    found = validation.measure(load_model(run, "last")[0])
    assert float([row for row in run.rows() if row["val_auc"]][-1]["val_auc"]) == pytest.approx(found.auc, abs=1e-5)


def test_patience_counts_validations_without_a_better_one() -> None:
    chosen = Selection(2, before=(0.8, 0.9))
    figures = [(0.7, 0.9), (0.81, 0.9), (0.81, 0.9), (0.81, 0.91), (0.5, 0.99), (0.81, 0.91)]
    better = [chosen.better(ValidationResult(tar, 0.01, auc)) for tar, auc in figures]
    assert better == [False, True, False, True, False, False]
    assert chosen.exhausted and chosen.best == (0.81, 0.91)


def measured(errors: list[int], tar: float | None = None) -> SeedResult:
    """10 comparisons a person; replicates without spread."""
    counts = np.full(len(errors), 10)
    return SeedResult(np.array(errors), counts, np.full(20, 1 - sum(errors) / counts.sum() if tar is None else tar))


def test_fine_tuning_helped_only_where_the_paired_interval_excludes_zero() -> None:
    before, same, little, much = [3] * 40, [3] * 40, [2] + [3] * 39, [1] * 40

    def verdict(clean: list[int], mask: list[int]) -> tuple[bool | None, list[bool]]:
        chosen = Selection(None)
        chosen.start(ValidationResult(0.7, 0.01, 0.9, {"as they are": measured(before), "mask": measured(before)}))
        parts = {"as they are": measured(clean), "mask": measured(mask)}
        chosen.better(ValidationResult(0.7, 0.01, 0.95, parts))  # a higher AUC alone is no measurable help
        kept = Selection(None)
        kept.restore(chosen.state())  # as a resumed run does
        assert kept.words() == chosen.words() and kept.helped == chosen.helped
        return kept.helped, [found.excludes_zero for found in kept.differences.values()]

    assert verdict(same, same) == (False, [False, False])
    assert verdict(little, same) == (False, [False, False])
    assert verdict(same, much) == (True, [False, True])
    assert verdict([9] * 40, much) == (False, [True, True])  # bought with what worked before
    assert Selection(None).helped is None


def test_a_run_with_masks_is_validated_on_masked_crops_too(wanted: Wanted, faces: Path) -> None:
    run = train(wanted(augment={"mask": 0.5}, training={"epochs": 1}), quiet=True)
    assert list(run.facts["differences"]) == ["as they are", "mask"]
    found = run.facts["differences"]["mask"]
    assert found["interval"][0] <= found["after"] - found["before"] <= found["interval"][1]
    trained, network = FaceDataset.open(faces / "late"), load_model(run, "last")[0]
    both, plain = (Validation.prepare(str(faces / "val"), trained, shifts=shifts) for shifts in (("mask",), ()))
    assert both is not None and plain is not None
    assert both.measure(network).auc != plain.measure(network).auc
    assert both.measure(network) == both.measure(network)  # the same masks every time


def test_patience_stops_the_run_and_says_so(wanted: Wanted, capfd: pytest.CaptureFixture[str]) -> None:
    # nothing changes, so nothing gets better
    run = train(
        wanted(
            optimizer={"lr": 1e-12, "weight_decay": 0.0},
            finetune={"freeze_norm": True},
            training={"epochs": 50, "patience": 2},
        )
    )
    assert run.facts["steps"] == run.load()["step"] == 2 * run.facts["steps_per_epoch"]
    assert run.facts["stopped"].startswith("early at step") and run.facts["helped"] is False
    said = capfd.readouterr().err
    assert "stopped early" in said and "no measurable difference" in said and "step 0: validation" in said
    with pytest.raises(VultusError, match="nothing to resume"):
        train(run.path, resume=True)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"finetune": {"freeze": "stage9"}}, "no such part; did you mean stage"),
        ({"finetune": {"freeze": "head"}}, "leaves nothing of the network to train"),
        ({"finetune": {"freez": "stage1"}}, "did you mean finetune.freeze"),
        ({"finetune": {"lora_alpha": 4}}, "no effect without lora_rank"),
        ({"finetune": {"lora_rank": 4, "freeze_norm": True}}, "remove freeze_norm"),
        ({"finetune": {"loss_weight": 0}}, "leaves nothing to learn from; set distill"),
        ({"finetune": {"freeze": "stage3", "layer_decay": 0.5}}, "layer_decay has no effect"),
        ({"finetune": {"layer_decay": 1.5}}, "finetune.layer_decay: .*less than or equal to 1"),
        (
            {"finetune": {"centers": "mean"}, "loss": {"name": "triplet", "scale": None, "margin": 0.2}},
            "remove finetune",
        ),
        ({"finetune": {"keep_centers": True}, "loss": {"name": "subcenter_arcface"}}, "not those of this loss"),
        (
            {
                "finetune": {"keep_centers": True},
                "loss": {"update_in_backward": True},
                "optimizer": {"clip": "network"},
            },
            "finetune.keep_centers out",
        ),
        ({"model": {"embedding_dim": 64}}, "remove model.embedding_dim"),
        ({"model": {"weights": None}, "finetune": {"distill": 1.0}}, "without model.weights"),
        ({"model": {"weights": "nowhere.pt"}}, "nowhere.pt does not exist"),
        ({"model": {"weights": "."}}, "folder without a run"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_no_run(sections: dict[str, Any], words: str, wanted: Wanted) -> None:
    run = Path(wanted().run)
    with pytest.raises(VultusError, match=words) as caught:
        train(wanted(**sections), quiet=True)
    assert "\n" not in str(caught.value) and not run.exists()


def test_patience_without_validation_is_refused(wanted: Wanted, faces: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(faces, tmp_path / "faces")
    (tmp_path / "faces" / "splits" / "val.npy").unlink()
    with pytest.raises(VultusError, match=r"training\.patience needs a validation split"):
        train(wanted(data={"train": str(tmp_path / "faces" / "late")}, training={"patience": 2}), quiet=True)


def test_nobody_the_ancestor_was_trained_on_chooses_the_checkpoint(wanted: Wanted, faces: Path) -> None:
    data = FaceDataset.open(faces / "train")
    np.save(faces / "splits" / "others.npy", data.rows[data.labels >= 16])
    with pytest.raises(VultusError, match="was trained on 4 of its identities"):
        train(wanted(data={"train": str(faces / "others"), "validation": str(faces / "late")}), quiet=True)


def test_seen_of_the_ancestor_is_carried_along() -> None:
    old = Seen("a", frozenset({"x"}), frozenset({"v"}), (Seen("c", frozenset({"z"}), frozenset()),))
    same = Seen("a", frozenset({"y"}), frozenset()).after(old)
    assert same.train == {"x", "y"} and same.validation == {"v"} and [s.dataset for s in same.earlier] == ["c"]
    other = Seen("b", frozenset({"y"}), frozenset()).after(old)
    assert other.train == {"y"} and [s.dataset for s in other.earlier] == ["a", "c"]
    assert Seen.from_dict(other.to_dict()) == other
    assert Seen("b", frozenset(), frozenset()).after(None).earlier == ()


def test_the_ready_recipe_is_the_one_in_the_folder() -> None:
    path = Path(__file__).parents[2] / "recipes" / "finetune.yaml"
    values = yaml.safe_load(path.read_text())
    assert values.pop("model") == {"weights": "sface"} and values["data"].pop("train")
    assert values == RECIPE
    assert load_recipe(path).tuning is not None


def test_the_command_trains_measures_and_exports(ancestor: Run, faces: Path, tmp_path: Path) -> None:
    from vultus.cli.app import app

    out = tmp_path / "tuned"
    arguments = ["finetune", str(faces), "--from", str(ancestor.path), "--run", str(out)]
    done = CliRunner().invoke(app, [*arguments, "training.epochs=1", "training.workers=0"])
    assert done.exit_code == 0, done.output
    assert f"vultus evaluate {out} {faces}/test --against {ancestor.path}" in done.output
    run = open_run(out)
    assert run.recipe.data.train == str(faces / "train") and run.recipe.model.weights == str(ancestor.path)
    assert run.recipe.tuning is not None and run.recipe.tuning.distill == 10
    found = evaluate(out, faces / "test", against=ancestor.path).to_dict()["against"]
    assert found["old_new"]["non_mated"] == 2 * found["old_old"]["non_mated"] and found["verdicts"]
    card = export(out, tmp_path / "tuned.onnx")
    assert card.provenance["ancestry"][-1]["name"] == "run ancestor"
    run.record(ancestry=[{"name": "theirs", "licence": "research only", "commercial_use": "forbidden"}])
    assert "forbidden by what it was made from: theirs (research only)" in export(out, tmp_path / "b.onnx").licence
    # an exported recogniser can be tuned again, and says whom its ancestors saw
    again = finetune(
        faces / "late", tmp_path / "tuned.onnx", run=tmp_path / "again", overrides=["training.epochs=1"], quiet=True
    )
    assert again.seen is not None and len(again.seen.train) == 20


def test_a_dataset_without_splits_is_told_how_to_split(ancestor: Run, faces: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(faces, tmp_path / "faces")
    shutil.rmtree(tmp_path / "faces" / "splits")
    with pytest.raises(VultusError, match=r"vultus data split .*train="):
        finetune(tmp_path / "faces", ancestor.path)
