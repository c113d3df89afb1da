"""Recipe to run: resuming, refusing, choosing, scheduling."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from vultus.errors import VultusError
from vultus.training import Recipe, load_recipe, open_run, train
from vultus.training.recipe import OptimizerSection, ScheduleSection
from vultus.training.run import load_checkpoint, load_model
from vultus.training.schedule import learning_rate, make_optimizer


def recipe(procedural: Path, run: Path, **sections: dict) -> Recipe:
    values = {
        "run": str(run),
        "data": {"train": str(procedural / "train")},
        "augment": {"flip": 0.5, "color": 0.5, "erase": 0.3},
        "model": {"name": "tinyresnet", "embedding_dim": 32, "options": {"widths": [8, 16, 16]}},
        "training": {"epochs": 2, "batch_size": 16, "workers": 0},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return Recipe.from_dict(values)


def losses(run: Path) -> list[tuple[int, float]]:
    with (run / "metrics.csv").open() as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file) if row["loss"]]


def test_a_run_reads_back_the_recipe_that_it_was_given(procedural: Path, tmp_path: Path) -> None:
    given = recipe(procedural, tmp_path / "r", optimizer={"clip_norm": None}, training={"epochs": 1})
    run = train(given, quiet=True)
    assert open_run(run.path).recipe == given and given.optimizer.clip_norm is None


def test_a_run_leaves_everything_behind(procedural: Path, tmp_path: Path) -> None:
    run = train(recipe(procedural, tmp_path / "r"), quiet=True)
    names = {p.name for p in run.path.iterdir()}
    assert {"recipe.yaml", "run.json", "metrics.csv", "last.pt", "best.pt", "events"} <= names
    assert run.facts["identities"] == 20 and run.facts["steps"] == 2 * (120 // 16)
    assert run.facts["validation"].endswith("/val") and len(run.facts["dataset_digest"]) == 64
    steps = [step for step, _ in losses(run.path)]
    assert steps == sorted(steps) and steps[-1] == run.facts["steps"]
    assert losses(run.path)[-1][1] < losses(run.path)[0][1]
    again = open_run(run.path)
    network, which = load_model(again)
    assert which == "best" and not network.training


INTERRUPTED = """
import os, signal, sys, yaml
from pathlib import Path
import torch
torch.set_num_threads(1)
from vultus.training import Recipe, loop, train
recipe = Recipe.from_dict(yaml.safe_load(Path(sys.argv[1]).read_text()))
step = loop._Trainer._step
def stepping(self, batches):
    result = step(self, batches)
    if self.step + 1 == 10:
        os.kill(os.getpid(), signal.SIGINT)
    return result
loop._Trainer._step = stepping
try:
    train(recipe, quiet=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_an_interrupted_run_resumes_in_the_middle_of_an_epoch_with_the_same_losses(
    procedural: Path, tmp_path: Path, workers: int
) -> None:
    torch.set_num_threads(1)  # a sum over threads may change its order
    options = {"model": {"name": "timm/mobilenetv3_small_050", "options": {"dropout": 0.3}}}
    options["training"] = {"epochs": 3, "accumulate": 2, "batch_size": 12, "workers": workers}
    whole = recipe(procedural, tmp_path / "whole", **options)
    train(whole, quiet=True)
    cut = recipe(procedural, tmp_path / "cut", **options)
    (tmp_path / "cut.yaml").write_text(yaml.safe_dump(cut.model_dump(exclude_none=True)))
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "cut.yaml")], capture_output=True, text=True
    )
    assert done.returncode == 130, done.stderr
    state = load_checkpoint(tmp_path / "cut" / "last.pt")
    assert state["step"] == 10 and open_run(tmp_path / "cut").facts["steps"] == 15
    train(tmp_path / "cut", resume=True, quiet=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    ours, theirs = (load_checkpoint(tmp_path / name / "last.pt")["model"] for name in ("cut", "whole"))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)


def test_a_killed_run_resumes_from_its_last_checkpoint(procedural: Path, tmp_path: Path) -> None:
    values = recipe(procedural, tmp_path / "r", training={"epochs": 400, "evaluate_every": 2})
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(values.model_dump(exclude_none=True)))
    process = subprocess.Popen([sys.executable, "-m", "vultus", "train", str(tmp_path / "r.yaml")], text=True)
    deadline = time.monotonic() + 90
    last = tmp_path / "r" / "last.pt"
    while not (last.exists() and load_checkpoint(last)["step"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run = open_run(tmp_path / "r")
    step = run.load()["step"]
    assert 0 < step < run.facts["steps"]
    process = subprocess.Popen([sys.executable, "-m", "vultus", "train", "--resume", str(run.path)])
    deadline = time.monotonic() + 90
    while run.load()["step"] <= step and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 130 and run.load()["step"] > step


@pytest.fixture(scope="module")
def once_cut(procedural: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "cut"
    values = recipe(procedural, path, training={"epochs": 3, "evaluate_every": 10})
    path.with_suffix(".yaml").write_text(yaml.safe_dump(values.model_dump(exclude_none=True)))
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, str(path.with_suffix(".yaml"))], capture_output=True)
    assert done.returncode == 130, done.stderr
    return path


@pytest.fixture
def cut(once_cut: Path, tmp_path: Path) -> Path:
    """A run of 21 steps that was interrupted after the tenth."""
    return shutil.copytree(once_cut, tmp_path / "cut")


def test_a_damaged_metrics_file_does_not_stop_a_run(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, whole = cut, losses(cut)
    with (run / "metrics.csv").open("ab") as file:
        file.write(b",,,\n7,1,0.3\n\xff\xfe\n" + b"\0" * 4096)
    train(run, resume=True)
    assert "left out 4 damaged line" in capsys.readouterr().err
    assert losses(run)[: len(whole)] == whole and losses(run)[-1][0] == 21


def test_a_resumed_run_keeps_its_recipe(cut: Path) -> None:
    run = cut
    text = (run / "recipe.yaml").read_text()
    edited = yaml.safe_load(text)
    edited["optimizer"]["lr"], edited["training"]["epochs"] = 0.5, 9
    (run / "recipe.yaml").write_text(yaml.safe_dump(edited))
    with pytest.raises(VultusError) as refused:
        train(run, resume=True, quiet=True)
    assert refused.value.code == "recipe_edited"
    assert refused.value.fields["keys"] == ["optimizer.lr", "training.epochs"]
    (run / "recipe.yaml").write_text(text)
    assert open_run(train(run, resume=True, quiet=True).path).load()["step"] == 21


def test_a_finished_run_has_nothing_to_resume(procedural: Path, tmp_path: Path) -> None:
    train(recipe(procedural, tmp_path / "r", training={"epochs": 1}), quiet=True)
    with pytest.raises(VultusError, match="nothing to resume"):
        train(tmp_path / "r", resume=True)


def test_a_corrupt_checkpoint_is_one_line(procedural: Path, tmp_path: Path) -> None:
    train(recipe(procedural, tmp_path / "r", training={"epochs": 1}), quiet=True)
    (tmp_path / "r" / "last.pt").write_bytes(b"PK rubbish")
    with pytest.raises(VultusError, match=r"last\.pt is broken") as caught:
        train(tmp_path / "r", resume=True)
    assert "\n" not in str(caught.value)


def test_a_run_directory_is_never_overwritten(procedural: Path, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.txt").write_text("keep")
    with pytest.raises(VultusError, match="not empty"):
        train(recipe(procedural, tmp_path / "r"))
    assert [p.name for p in (tmp_path / "r").iterdir()] == ["thesis.txt"]


def test_a_run_killed_before_its_first_step_resumes(
    procedural: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vultus.training import loop

    def killed(self, batches):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(loop._Trainer, "_step", killed)
        with pytest.raises(MemoryError):
            train(recipe(procedural, tmp_path / "r", training={"epochs": 1}), quiet=True)
    train(tmp_path / "r", resume=True, quiet=True)
    train(recipe(procedural, tmp_path / "whole", training={"epochs": 1}), quiet=True)
    assert losses(tmp_path / "r") == losses(tmp_path / "whole")


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_step(procedural: Path, tmp_path: Path) -> None:
    wild = recipe(procedural, tmp_path / "r", optimizer={"lr": 1e30, "clip_norm": None})
    with pytest.raises(VultusError, match=r"step \d+: embeddings: row \d+ holds nan; .*lower optimizer\.lr"):
        train(wild, quiet=True)
    state = open_run(tmp_path / "r").load()
    assert all(torch.isfinite(v).all() for v in state["model"].values() if v.is_floating_point())


@pytest.mark.parametrize("split", ["", "/test", "/calibration"])
def test_nobody_kept_for_the_end_is_trained_on(split: str, procedural: Path, tmp_path: Path) -> None:
    wanted = recipe(procedural, tmp_path / "r", data={"train": f"{procedural}{split}"})
    with pytest.raises(VultusError, match=r"kept for the end|name a split"):
        train(wanted)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("split", ["test", "calibration"])
def test_no_checkpoint_is_chosen_on_reserved_splits(split: str, procedural: Path, tmp_path: Path) -> None:
    wanted = recipe(procedural, tmp_path / "r", data={"validation": str(procedural / split)})
    with pytest.raises(VultusError, match="kept for the end"):
        train(wanted)
    assert not (tmp_path / "r").exists()


def test_validation_must_not_share_people_with_training(procedural: Path, tmp_path: Path) -> None:
    wanted = recipe(procedural, tmp_path / "r", data={"validation": str(procedural / "train")})
    with pytest.raises(VultusError, match="shares 20 identities"):
        train(wanted)


def test_fp16_is_refused_on_a_cpu(procedural: Path, tmp_path: Path) -> None:
    wanted = recipe(procedural, tmp_path / "r", training={"precision": "fp16", "accelerator": "cpu"})
    with pytest.raises(VultusError, match="silently become bf16"):
        train(wanted)
    assert not (tmp_path / "r").exists()


def test_bf16_and_minutes_train(procedural: Path, tmp_path: Path) -> None:
    settings = {"epochs": None, "minutes": 0.03, "precision": "bf16", "channels_last": False}
    run = train(recipe(procedural, tmp_path / "r", training=settings), quiet=True)
    assert run.load()["step"] == run.facts["steps"] >= 10


def test_accumulation_divides_the_loss(procedural: Path, tmp_path: Path) -> None:
    """Two half batches give the first loss of one whole batch (no batch norm statistics in the way: same scale)."""
    one = train(recipe(procedural, tmp_path / "a", training={"batch_size": 24, "epochs": 1}), quiet=True)
    two = train(
        recipe(procedural, tmp_path / "b", training={"batch_size": 12, "accumulate": 2, "epochs": 1}), quiet=True
    )
    assert one.facts["steps"] == two.facts["steps"]
    assert losses(two.path)[0][1] == pytest.approx(losses(one.path)[0][1], rel=0.1)


def test_nothing_small_decays() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.PReLU(4))
    optimizer = make_optimizer([network], OptimizerSection(weight_decay=0.1))
    for group in optimizer.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] == 0.1) for p in group["params"])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 5


@pytest.mark.parametrize("name", ["cosine", "polynomial", "constant"])
def test_schedules_rise_then_fall(name: str) -> None:
    section = ScheduleSection(name=name, warmup=0.1)  # type: ignore[arg-type]
    rates = np.array([learning_rate(step, 100, 0.4, section) for step in range(100)])
    assert (np.diff(rates[:10]) > 0).all() and rates[10] == pytest.approx(0.4) and rates.max() <= 0.4
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[-1] > 0 and (name == "constant" or rates[-1] < 0.01)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.learning_rate=1", "unknown key optimizer.learning_rate"),
        ("optimizer.weigth_decay=1", "did you mean optimizer.weight_decay"),
        ("optimiser.lr=1", "did you mean optimizer"),
        ("optimizer.lr=fast", "optimizer.lr"),
        ("optimizer.lr=-1", "greater than 0"),
        ("training.epochs=3", "epochs or minutes"),
        ("schedule.power=3", "no effect"),
        ("nonsense", "key=value"),
        ("model.name=iresnet51", "iresnet50"),
        ("loss.name=arcfce", "arcface"),
        ("data.train=/nowhere/at/all", "no vultus dataset"),
    ],
)
def test_a_typo_names_the_key_and_the_mend(override: str, words: str, procedural: Path, tmp_path: Path) -> None:
    base = [f"data.train={procedural}/train", f"run={tmp_path}/r"]
    with pytest.raises(VultusError, match=words.replace(".", r"\.")) as caught:
        train(Path(__file__).parents[2] / "recipes" / "quickstart.yaml", [*base, override])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_every_recipe_loads() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))
    assert recipes
    for path in recipes:
        load_recipe(path)


def test_a_missing_recipe_lists_those_there_are() -> None:
    with pytest.raises(VultusError, match="does not exist"):
        load_recipe("recipes/none.yaml")
