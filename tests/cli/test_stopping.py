"""Ctrl-C and SIGTERM, sent to real processes at work: one line, the code that a shell expects, and it goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def stopped(words: list[str], at_work: Path, how: signal.Signals, everyone: bool = False) -> tuple[int, str]:
    """Exit code and stderr of a command that gets a signal once `at_work` is there; `everyone`: its workers get it too,
    as from a terminal or a batch system."""
    command = [sys.executable, "-m", "vultus", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not at_work.exists():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.02)
        (os.killpg if everyone else os.kill)(process.pid, how)
        _, told = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, told.decode()


def one_line(told: str) -> str:
    assert "Traceback" not in told and "Error" not in told, told
    [line] = [line for line in told.splitlines() if line.startswith(("interrupted;", "terminated;"))]
    return line


@pytest.fixture(scope="module")
def blank_photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large pictures without a face: quick to draw, slow to search."""
    folder = tmp_path_factory.mktemp("photographs")
    picture = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), np.uint8)
    for person in range(30):
        (folder / f"p{person:02}").mkdir()
        cv2.imwrite(str(folder / f"p{person:02}" / "1.jpg"), picture)
    return folder


@pytest.mark.parametrize(("how", "code"), SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_data_build(blank_photographs: Path, tmp_path: Path, how: signal.Signals, code: int) -> None:
    words = ["data", "build", str(blank_photographs), "--out", str(tmp_path / "d"), "--workers", "2"]
    ended, told = stopped(words, tmp_path / "d" / "building" / "plan", how, everyone=True)
    assert ended == code and "same command" in one_line(told)


def test_train(procedural: Path, tmp_path: Path) -> None:
    """By SIGTERM to all of its processes; tests/training stops it by Ctrl-C."""
    recipe = {
        "data": {"train": str(procedural / "train")},
        "model": {"name": "tinyresnet", "embedding_dim": 32, "options": {"widths": [8, 16, 16]}},
        "training": {"epochs": 4000, "batch_size": 16, "workers": 1},
        "run": str(tmp_path / "r"),
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    last = tmp_path / "r" / "last.pt"
    ended, told = stopped(["train", str(tmp_path / "r.yaml")], last, signal.SIGTERM, everyone=True)
    assert ended == 143 and "vultus train --resume" in one_line(told)


def test_usage_is_one_line_and_a_code_for_programs() -> None:
    for words in (
        ["train"],
        ["data", "build", "x"],
        ["gallery", "identify", "--nope"],
        ["nonsense"],
        ["evaluate", "a"],
    ):
        done = subprocess.run([sys.executable, "-m", "vultus", *words, "--json"], capture_output=True, text=True)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
        assert json.loads(done.stdout)["error"]["code"] == "usage"
