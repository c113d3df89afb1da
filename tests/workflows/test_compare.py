"""Losses compared: one budget for all, runs that are kept, goes on after an interruption, failures listed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vultus.data import FaceDataset, split_dataset
from vultus.errors import VultusError
from vultus.evaluation.figures.comparison import DotPanel, dots
from vultus.workflows.compare import compare
from vultus.workflows.compare_plan import make_plan
from vultus.workflows.compare_results import Comparison
from vultus.workflows.compare_run import Outcome, main, train_apart, write_recipe

SHIPPED = sorted((Path(__file__).parents[2] / "recipes" / "compare").glob("*.yaml"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a small recipe NAME.yaml; sections are merged into it."""
    folder = tmp_path_factory.mktemp("recipes")

    def write(name: str, loss: dict[str, Any] | str, **sections: Any) -> Path:
        values: dict[str, Any] = {
            "run": "unused",
            "data": {"train": "unused"},
            "model": {"name": "tinyresnet", "embedding_dim": 16, "options": {"widths": [8, 8, 8]}},
            "loss": loss,
            "training": {"epochs": 1, "batch_size": 40, "workers": 0},
        }
        for key, section in sections.items():
            values[key] = {**values.get(key, {}), **section}
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def three(recipe: Callable[..., Path]) -> list[Path]:
    """The last one diverges at its first step: a scale that no float32 holds."""
    return [
        recipe("margin", {"name": "cosface", "scale": 16.0, "margin": 0.1}),
        recipe("plain", "softmax"),
        recipe("broken", {"name": "arcface", "scale": 1e39}),
    ]


@pytest.fixture(scope="module")
def compared(three: list[Path], procedural: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Trained in this process, which has torch loaded already."""
    out = tmp_path_factory.mktemp("compare") / "out"
    for run in make_plan(three, procedural, out, seeds=1).runs:
        write_recipe(run.recipe, run.folder)
        main(run.folder)
    return compare(three, procedural, seeds=1, out=out)


def test_every_loss_gets_figures_and_costs_and_a_failure_its_reason(compared: Comparison) -> None:
    assert [entry.name for entry in compared.entries] == ["plain", "margin", "broken"]  # as `vultus losses` orders
    assert (
        compared.baseline == "plain" and compared.fars == (0.01,) and compared.withheld == {1e-3: 10_000, 1e-4: 100_000}
    )
    plain, margin, broken = compared.entries
    for entry in (plain, margin):
        low, high = entry.tar[0.01].interval
        assert 0 <= low <= entry.tar[0.01].value <= high <= 1
        (run,) = entry.runs
        assert run.images == 120 and run.cpu_seconds > 0  # one epoch of 20 x 6 crops in 3 batches of 40
        assert run.peak_bytes >= run.outcome.lives[0].bytes_before > 0
    assert not plain.difference
    assert margin.difference[0.01].value == pytest.approx(margin.tar[0.01].value - plain.tar[0.01].value)
    assert not broken.tar and not broken.difference
    ((which, why),) = compared.failures
    assert which == "broken, seed 0" and "the loss is" in why


def test_the_reports_say_the_same(compared: Comparison) -> None:
    written = json.loads((compared.folder / "comparison.json").read_text())
    assert [entry["name"] for entry in written["entries"]] == ["plain", "margin", "broken"]
    assert written["entries"][1]["tar"]["0.01"]["value"] == compared.entries[1].tar[0.01].value
    assert written["entries"][2]["runs"][0]["state"] == "failed"
    assert written["command"].startswith("vultus compare ") and "--seeds 1" in written["command"]
    page = (compared.folder / "report.html").read_text()
    for words in ("procedural faces", "cosface, scale 16, margin 0.1", "the loss is", "One seed a loss", "withheld"):
        assert words in page
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]*|http://www.w3.org[^\"]*", "", page)
    assert (compared.folder / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_finished_and_failed_runs_are_kept(compared: Comparison, three: list[Path], procedural: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.folder.rglob("*.pt")}
    embeddings = {path: path.stat().st_mtime_ns for path in compared.folder.rglob("test-*.npy")}
    assert len(embeddings) == 2
    again = compare(three, procedural, seeds=1, out=compared.folder, baseline="margin")
    assert {path: path.stat().st_mtime_ns for path in compared.folder.rglob("*.pt")} == before
    assert {path: path.stat().st_mtime_ns for path in compared.folder.rglob("test-*.npy")} == embeddings
    assert again.entry("plain").tar == compared.entry("plain").tar
    assert again.entry("plain").difference[0.01].value == -compared.entry("margin").difference[0.01].value


def test_a_report_without_training_lists_what_is_missing(
    compared: Comparison, three: list[Path], procedural: Path
) -> None:
    partly = compare(three, procedural, seeds=2, out=compared.folder, training=False)
    reasons = dict(partly.failures)
    assert reasons["plain, seed 1"] == "not trained yet" and len(reasons) == 4
    assert partly.entry("plain").tar[0.01].seeds_error is None
    with pytest.raises(VultusError, match="no run has finished"):
        compare(three, procedural, out=compared.folder / "nothing", training=False)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(recipe: Callable[..., Path], procedural: Path, tmp_path: Path) -> None:
    long = {"epochs": 100_000, "evaluate_every": 1_000_000}
    recipes = [recipe("long_plain", "softmax", training=long), recipe("long_margin", "cosface", training=long)]
    words = ["-m", "vultus", "compare", *map(str, recipes), "--data", str(procedural), "--out", str(tmp_path / "o")]
    process = subprocess.Popen(
        [sys.executable, *words, "--seeds", "1"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job inherits "ignored"
    )
    while not any(len(path.read_text().splitlines()) > 2 for path in tmp_path.glob("o/runs/*/run/metrics.csv")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "the same command goes on from here" in said
    (folder,) = tmp_path.glob("o/runs/*")
    outcome = Outcome.read(folder)
    assert outcome.state == "interrupted" and outcome.lives[0].images > 0


def test_an_interrupted_run_goes_on(recipe: Callable[..., Path], procedural: Path, tmp_path: Path) -> None:
    settings = {"epochs": 100, "evaluate_every": 1000}
    pair = [recipe("a100", "softmax", training=settings), recipe("b100", "cosface", training=settings)]
    run = make_plan(pair, procedural, tmp_path, seeds=1).runs[0]
    write_recipe(run.recipe, run.folder)

    def interrupt() -> None:
        metrics = run.folder / "run" / "metrics.csv"
        while not metrics.is_file() or len(metrics.read_text().splitlines()) < 3:
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert main(run.folder) == 130 and Outcome.read(run.folder).state == "interrupted"
    assert main(run.folder) == 0
    outcome = Outcome.read(run.folder)
    assert outcome.state == "finished" and len(outcome.lives) == 2
    assert sum(life.images for life in outcome.lives) == outcome.images == 100 * 120
    assert main(run.folder) == 0 and Outcome.read(run.folder).lives[2].images == 0  # killed before it could say so


def test_a_run_ends_with_the_comparison_that_started_it(tmp_path: Path) -> None:
    """A comparison that is killed outright leaves no run behind that the next one would write into as well."""
    child = f"""
import pathlib, time
from vultus.workflows.compare_run import end_with_parent
end_with_parent()
pathlib.Path({str(tmp_path / "ready")!r}).touch()
try:
    time.sleep(600)
except KeyboardInterrupt:
    pathlib.Path({str(tmp_path / "ended")!r}).touch()
"""
    parent = f"""
import pathlib, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {child!r}])
while not pathlib.Path({str(tmp_path / "ready")!r}).exists():
    time.sleep(0.02)
"""
    subprocess.run([sys.executable, "-c", parent], check=True)
    for _ in range(2400):
        if (tmp_path / "ended").exists():
            return
        time.sleep(0.05)
    raise AssertionError("the orphan lives on")


def test_a_run_whose_process_dies_is_listed(
    three: list[Path], procedural: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = tmp_path / "python"
    deadly.write_text("#!/bin/sh\nkill -9 $$\n")
    deadly.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(deadly))
    with pytest.raises(
        VultusError, match="nothing to compare: plain, seed 0: the process was ended by signal 9; margin"
    ):
        compare(three[:2], procedural, out=tmp_path, seeds=1)
    (run, _) = make_plan(three[:2], procedural, tmp_path, seeds=1).runs
    assert train_apart(run.recipe, run.folder).state == "failed"  # and is not tried again


def test_the_shipped_recipes_differ_in_the_loss_alone(procedural: Path, tmp_path: Path) -> None:
    plan = make_plan(SHIPPED, procedural, tmp_path)
    names = [candidate.name for candidate in plan.candidates]
    assert names == ["softmax", "cosface", "arcface", "adaface", "elasticface", "triplet"]
    assert not any(candidate.different for candidate in plan.candidates)
    assert [(run.candidate.name, run.seed) for run in plan.runs[:7]] == [*((name, 0) for name in names), ("softmax", 1)]
    assert len({run.folder for run in plan.runs}) == 18
    assert plan.runs[6].recipe.training.seed == 1 and plan.runs[6].recipe.data.train == f"{procedural}/train"


def test_a_run_is_known_by_recipe_seed_and_data(recipe: Callable[..., Path], procedural: Path, tmp_path: Path) -> None:
    pair = [recipe("one", "softmax"), recipe("two", "cosface")]
    first = make_plan(pair, procedural, tmp_path, seeds=1).runs
    first[0].folder.mkdir(parents=True)
    renamed = [recipe("other_name", "softmax"), pair[1]]
    assert make_plan(renamed, procedural, tmp_path, seeds=1).runs[0].folder == first[0].folder
    longer = make_plan(pair, procedural, tmp_path, seeds=1, overrides=["training.epochs=2"]).runs
    assert longer[0].folder != first[0].folder
    fewer = tmp_path / "fewer"
    root = FaceDataset.open(procedural).root
    fewer.mkdir()
    for part in ("dataset.json", "crops"):
        os.symlink(root / part, fewer / part)
    split_dataset(fewer, {"train": 0.4, "val": 0.2, "test": 0.4}, seed=5)
    assert make_plan(pair, fewer, tmp_path, seeds=1).runs[0].folder != first[0].folder


def test_another_budget_is_refused_or_listed(recipe: Callable[..., Path], procedural: Path, tmp_path: Path) -> None:
    pair = [recipe("slow", "softmax"), recipe("fast", "cosface", optimizer={"lr": 0.2})]
    with pytest.raises(VultusError, match=r"fast differs from slow in optimizer.lr \(0.1, 0.2\)"):
        make_plan(pair, procedural, tmp_path)
    listed = make_plan(pair, procedural, tmp_path, different=True)
    assert [candidate.different for candidate in listed.candidates] == [(), ("optimizer.lr (0.1, 0.2)",)]
    batches = recipe("pairs", {"name": "triplet"}, training={"images_per_identity": 4})
    assert not make_plan([pair[0], batches], procedural, tmp_path).candidates[1].different  # the loss needs them


def test_mistakes_are_told(recipe: Callable[..., Path], procedural: Path, tmp_path: Path) -> None:
    pair = [recipe("a", "softmax"), recipe("b", "cosface")]
    with pytest.raises(VultusError, match="two recipes at least"):
        make_plan(pair[:1], procedural, tmp_path)
    with pytest.raises(VultusError, match="again is the same recipe as b"):
        make_plan([*pair, recipe("again", "cosface")], procedural, tmp_path)
    with pytest.raises(VultusError, match="two recipes are called a"):
        make_plan([pair[0], pair[0]], procedural, tmp_path)
    with pytest.raises(VultusError, match="no recipe is called 'c'; there are a, b"):
        compare(pair, procedural, out=tmp_path, baseline="c")
    bare = tmp_path / "bare"
    bare.mkdir()
    for part in ("dataset.json", "crops"):
        os.symlink(procedural / part, bare / part)
    with pytest.raises(VultusError, match="has no split 'train'; first `vultus data split"):
        make_plan(pair, bare, tmp_path)
    splits = bare / "splits"
    splits.mkdir()
    np.save(splits / "train.npy", np.arange(60))
    np.save(splits / "test.npy", np.arange(50, 100))
    with pytest.raises(VultusError, match="are in train and in test"):
        make_plan(pair, bare, tmp_path)
    assert not (tmp_path / "runs").exists()


def test_dots_draw_what_there_is() -> None:
    panels = [
        DotPanel("rates", [0.5, None, 0.7], [(0.4, 0.6), None, (0.6, 0.8)], [[0.45, 0.55], [], [0.7]]),
        DotPanel("differences", [None, None, 0.2], [None, None, (-0.1, 0.5)], difference=True, baseline=0),
    ]
    assert dots(["a", "b", "c"], panels).startswith(b"\x89PNG")


def test_embeddings_that_are_no_numbers_are_a_failed_run(
    compared: Comparison, three: list[Path], procedural: Path
) -> None:
    (path,) = compared.folder.glob("runs/margin-*/test-*.npy")
    good = np.load(path)
    try:
        np.save(path, np.full_like(good, np.nan))
        found = compare(three, procedural, seeds=1, out=compared.folder)
        assert "NaN" in dict(found.failures)["margin, seed 0"] and found.entry("plain").tar
    finally:
        np.save(path, good)
