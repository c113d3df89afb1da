"""`vultus evaluate`: what it prints, its JSON, and what its exit code says."""

from __future__ import annotations

import importlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.data import FaceDataset
from vultus.workflows.embedder import Embedder


def thumbnails(crops: np.ndarray) -> np.ndarray:
    rows = crops[:, ::37, ::37].reshape(len(crops), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def run_beside(monkeypatch: pytest.MonkeyPatch):
    """The command, on a recogniser of thumbnails."""
    workflow = importlib.import_module("vultus.workflows.evaluate")
    monkeypatch.setattr(workflow, "open_embedder", lambda *_: Embedder("thumbnails", thumbnails))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, ["evaluate", "thumbnails", *map(str, words)])


@pytest.fixture
def run(run_beside, monkeypatch: pytest.MonkeyPatch):
    """The same, quicker: without baselines beside it."""
    monkeypatch.setattr(importlib.import_module("vultus.workflows.evaluate"), "beside", lambda *_: [])
    return run_beside


def profile(path: Path, at_least: float) -> Path:
    requirement = f'measure = "tar"\nfar = 0.1\nat_least = {at_least}\nsource = "s"\n'
    path.write_text(f'name = "mine"\ntitle = "Mine"\nwords = "w"\n[[requirement]]\n{requirement}')
    return path


def test_the_exit_code_of_a_profile(run, procedural: Path, tmp_path: Path) -> None:
    measured = json.loads(run(procedural / "train", "--json").stdout)
    point = next(p for p in measured["points"] if p["far"] == 0.1)
    low, high = point["tar_interval"]
    goals = {low - 0.01: (0, "PASS"), high + 0.0001: (1, "FAIL"), point["tar"]: (3, "NOT ENOUGH EVIDENCE")}
    for goal, (code, answer) in goals.items():
        result = run(procedural / "train", "--profile", profile(tmp_path / "mine.toml", goal), "--json")
        assert result.exit_code == code and json.loads(result.stdout)["profile"]["answer"] == answer
    result = run(procedural / "train", "--profile", tmp_path / "mine.toml")
    assert result.exit_code == code and answer in result.stdout


@pytest.mark.parametrize("listed", [False, True])
def test_withheld_rates_are_shown_only_where_asked_and_marked(
    run, procedural: Path, tmp_path: Path, listed: bool
) -> None:
    words = [procedural / "train"]
    if listed:
        people = FaceDataset.open(procedural).identities[:20]
        rows = [f"{k % 2},{name}/000,{name}/001,1" for k, name in enumerate(people)]
        rows += [f"{k % 2},{a}/002,{b}/003,0" for k, (a, b) in enumerate(pairwise(people))]
        (tmp_path / "pairs.csv").write_text("\n".join(rows))
        words = [procedural, "--pairs", tmp_path / "pairs.csv"]
    plain = run(*words)
    assert plain.exit_code == 0 and "unsupported" not in plain.stdout and "withheld" in plain.stdout
    shown = run(*words, "--show-unsupported", "--out", tmp_path / "out")
    assert "withheld" in shown.stdout and "unsupported" in shown.stdout
    assert " unsupported" in (tmp_path / "out" / "report.html").read_text()
    points = json.loads(run(*words, "--show-unsupported", "--json").stdout)["points"]
    for point in points:
        if point["tar"] is None:
            found = point["unsupported"]
            assert point["needs"] and found["tar_interval"][0] <= found["tar"] <= found["tar_interval"][1]
            assert found["false_matches"] <= point["far"] * 10_000
    assert all("unsupported" not in point for point in json.loads(run(*words, "--json").stdout)["points"])


def test_baselines_stand_beside_every_evaluation(run_beside, procedural: Path, tmp_path: Path) -> None:
    run = run_beside
    measured = json.loads(run(procedural / "test", "--json").stdout)["baselines"]
    assert "whitened PCA of pixels" in measured  # fitted on the split train; the shipped recognizer where it is here
    for found in measured.values():
        assert 0 < found["auc"] <= 1 and found["points"][0]["far"] == 0.1
    shown = run(procedural / "test", "--out", tmp_path / "out").stdout
    assert "whitened PCA of pixels" in shown
    assert "whitened PCA of pixels" in (tmp_path / "out" / "report.html").read_text()
    # Without other people to fit it on, it says so.
    assert any("of these crops" in name for name in json.loads(run(procedural, "--json").stdout)["baselines"])


def test_tables_are_not_folded_to_80_columns_in_a_pipe(
    run_beside, procedural: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_beside
    monkeypatch.delenv("COLUMNS")
    people = len(FaceDataset.open(procedural / "test").identities)
    lines = run(procedural / "test").stdout.splitlines()
    (note,) = (line for line in lines if f"{people} identities" in line)
    assert note.endswith("%") and "EER" in note and len(note) > 80
    assert not any(line.rstrip() == "whitened PCA of" for line in lines)
