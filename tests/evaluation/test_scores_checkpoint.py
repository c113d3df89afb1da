"""A walk over all pairs that is interrupted gives the same result as one that is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation.scores import all_pairs, checkpoint, compare, tally

FIELDS = ("mated", "mated_identity", "tail", "tail_identities", "histogram", "hardest_mated", "hardest_non_mated")


def faces(images: int, identities: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, identities, images)
    rows = rng.normal(size=(identities, 16))[labels] + rng.normal(size=(images, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def tied_faces(images: int, identities: int, seed: int = 0):
    """Every score is a multiple of 0.25, so that most of the tail ties with its least score."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((images, 12), np.float32)
    for row in rows:
        row[rng.choice(12, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return rows, rng.integers(0, identities, images)


def assert_same(first, second):
    for name in FIELDS:
        one, other = getattr(first, name), getattr(second, name)
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, name


class Interrupted:
    """Compares tiles and stops the person's patience at the given one."""

    def __init__(self, real, stop: int) -> None:
        self.real, self.stop, self.done = real, stop, 0

    def __call__(self, tile, cut):
        self.done += 1
        if self.done > self.stop:
            raise KeyboardInterrupt
        return self.real(tile, cut)


@pytest.mark.parametrize(
    ("made", "tail", "threads"), [(faces, 150, 1), (faces, 10**6, 2), (tied_faces, 150, 2), (tied_faces, 3000, 1)]
)
def test_an_interrupted_walk_ends_like_an_uninterrupted_one(tmp_path, monkeypatch, made, tail, threads):
    rows, labels = made(200, 20)
    file, options = tmp_path / "walk.npz", {"block": 25, "tail": tail, "threads": threads}
    whole, real, interruptions = all_pairs(rows, labels, **options), compare.Compare, 0
    monkeypatch.setattr("vultus.evaluation.scores.walk.Compare", lambda *given: Interrupted(real(*given), 10))
    while interruptions < 50:
        try:
            resumed = all_pairs(rows, labels, checkpoint=file, **options)
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions >= 3  # 36 tiles, at most ten at a time
    assert_same(resumed, whole)


def test_a_finished_walk_is_not_walked_again(tmp_path, monkeypatch):
    rows, labels = faces(80, 8)
    first = all_pairs(rows, labels, checkpoint=tmp_path / "walk.npz", block=16)
    monkeypatch.setattr("vultus.evaluation.scores.walk.Compare", lambda *given: Interrupted(None, 0))
    assert_same(all_pairs(rows, labels, checkpoint=tmp_path / "walk.npz", block=16), first)


def test_a_checkpoint_of_anything_else_is_refused(tmp_path):
    rows, labels = faces(80, 8)
    file = tmp_path / "walk.npz"
    all_pairs(rows, labels, checkpoint=file)
    moved = np.roll(rows, 1, axis=1)
    for other in (
        {"embeddings": moved, "labels": labels},
        {"embeddings": rows, "labels": labels[::-1]},
        {"embeddings": rows, "labels": labels, "tail": 10},
        {"embeddings": rows, "labels": labels, "block": 10},
    ):
        with pytest.raises(VultusError, match="belongs to other embeddings, labels or options"):
            all_pairs(**other, checkpoint=file)
    file.write_bytes(b"something else")
    with pytest.raises(VultusError, match="is no checkpoint of scores"):
        all_pairs(rows, labels, checkpoint=file)


def test_a_killed_walk_goes_on_from_what_was_written(tmp_path):
    rows, labels = faces(300, 20)
    np.savez(tmp_path / "faces.npz", rows=rows, labels=labels)
    script = textwrap.dedent(f"""
        import os, pathlib, signal
        import numpy as np
        from vultus.evaluation.scores import all_pairs, checkpoint
        def save_and_die(self, tally):
            self.save(tally)
            if tally.tiles == 20:
                os.kill(os.getpid(), signal.SIGKILL)
        checkpoint.Checkpoint.save_if_due = save_and_die
        data = np.load({str(tmp_path / "faces.npz")!r})
        path = pathlib.Path({str(tmp_path / "walk.npz")!r})
        all_pairs(data["rows"], data["labels"], block=30, tail=400, checkpoint=path)
    """)
    ended = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    with np.load(tmp_path / "walk.npz") as state:
        assert state["tiles"] == 20  # of 55
    resumed = all_pairs(rows, labels, block=30, tail=400, checkpoint=tmp_path / "walk.npz")
    assert_same(resumed, all_pairs(rows, labels, block=30, tail=400))


def test_saving_is_due_by_the_clock(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    saved = checkpoint.Checkpoint(tmp_path / "walk.npz", "digest", seconds=60)
    saves = []
    monkeypatch.setattr(saved, "save", lambda tally: (saves.append(now[0]), now.__setitem__(0, now[0] + 2)))
    for second in range(0, 400, 10):
        now[0] = max(now[0], float(second))
        saved.save_if_due(tally.Tally(1, 1))
    # Due at 60 s; saving took 2 s, so the next one waits 100 times as long.
    assert saves == [60.0, 270.0]
