"""SFace on real photographs: figures near the published ones, a gallery that finds people and refuses strangers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vultus
from vultus.data import build_dataset
from vultus.evaluation import parse_lfw_pairs
from vultus.faces import find_photographs
from vultus.workflows import evaluate


@pytest.fixture(scope="session")
def sface() -> vultus.Recognizer:
    return vultus.load_recognizer("sface")


def test_sface_tells_the_first_pairs_apart(shared: Path, tmp_path: Path, sface: vultus.Recognizer) -> None:
    """60 mated and 60 non-mated pairs of the first fold at the shipped threshold for FMR 1e-3."""
    pairs = parse_lfw_pairs(shared / "faces" / "pairs.txt")
    chosen = [*range(60), *range(300, 360)]
    wanted = {(pairs.names[i][side], pairs.numbers[i][side]) for i in chosen for side in (0, 1)}
    lines = [f"{shared / 'faces' / name / f'{number:03d}.jpg'},{name}" for name, number in sorted(wanted)]
    (tmp_path / "list.csv").write_text("\n".join(["path,identity", *lines]))
    build_dataset(tmp_path / "list.csv", tmp_path / "data")
    body = ["fold,a,b,same"]
    for fold, i in enumerate(chosen):
        (a, b), (m, n) = pairs.names[i], pairs.numbers[i]
        first, second = (
            Path(os.path.relpath(shared / "faces" / name / f"{number:03d}.jpg", tmp_path)).as_posix()
            for name, number in ((a, m), (b, n))
        )
        body.append(f"{fold % 4},{first},{second},{int(pairs.same[i])}")
    (tmp_path / "pairs.csv").write_text("\n".join(body))
    result = evaluate(sface, tmp_path / "data", pairs=tmp_path / "pairs.csv")
    assert result.missing == 0 and result.kfold.mean > 0.97  # type: ignore[union-attr]
    assert sface.calibration is not None
    assert np.allclose(result.kfold.thresholds, sface.calibration.threshold_at(1e-3).score, atol=0.15)  # type: ignore[union-attr]


PROFILES = {"stuart": ["stuart5.png"]}
"""Photographs that the gate of enrolment refuses: a head turned by 51 degrees."""


def test_the_group_stills_are_named(shared: Path, tmp_path: Path) -> None:
    """Eight characters enrolled, with a mild guard: heads are turned. Counts checked by eye on the drawn pictures."""
    bbt = shared / "images" / "bbt"
    with vultus.Gallery.open(tmp_path / "bbt.db", model="sface", settings={"outlier_fmr": 0.05}) as gallery:
        for person in sorted(path for path in (bbt / "gallery").iterdir() if path.is_dir()):
            done = gallery.enroll(person.name, *find_photographs(person), skip_bad=True)
            assert [Path(skipped.image).name for skipped in done.skipped] == PROFILES.get(person.name, [])
        assert sum(p.templates for p in gallery.persons()) == 39
        named = unknown = 0
        for still in sorted((bbt / "group").glob("*.jpg")):
            decisions = [found.decision for found in gallery.identify(still, fpir=0.001)]
            people = [d.person for d in decisions if d.kind == "match"]
            assert len(people) == len(set(people)), f"{still.name}: one person twice"
            named, unknown = named + len(people), unknown + sum(d.kind == "unknown" for d in decisions)
        assert named >= 21 and named + unknown == 23
        strangers = [gallery.identify(p, fpir=0.001) for p in find_photographs(shared / "faces")[::200]]
        assert all(found.decision.person is None for faces in strangers for found in faces)
        kinds = [found.decision.kind.value for faces in strangers for found in faces]
        assert set(kinds) <= {"unknown", "low_quality"} and kinds.count("low_quality") <= 2
        verified = gallery.verify("sheldon", bbt / "gallery" / "sheldon" / "sheldon1.png", fmr=1e-4)
        assert verified.match and not gallery.verify("raj", bbt / "gallery" / "sheldon" / "sheldon1.png", fmr=1e-4)


def test_enrolment_wants_one_face(shared: Path, tmp_path: Path) -> None:
    group = shared / "images" / "bbt" / "group" / "bbt1.jpg"
    for image, words in ((group, "4 faces"), (shared / "images" / "nonface" / "eagle.jpg", "no face")):
        done = subprocess.run(
            [sys.executable, "-m", "vultus", "gallery", "enroll", "--gallery", str(tmp_path / "g.db")]
            + ["--model", "sface", "alice", str(image)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_published_onnx_with_a_side_file(shared: Path, tmp_path: Path) -> None:
    """A batch-of-one file of another project: sanitised, batched, and its contract read from beside it."""
    path = tmp_path / "mobilefacenet.onnx"
    path.write_bytes((shared / "weights" / "mobilefacenet_112x112" / "mobilefacenet.onnx").read_bytes())
    path.with_suffix(".contract.json").write_text(
        '{"dim": 128, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "color": "RGB"}'
    )
    recognizer = vultus.load_recognizer(path)
    folders = [p for p in sorted((shared / "faces").iterdir()) if p.is_dir() and len(find_photographs(p)) >= 4][:12]
    faces = [recognizer.faces(p, select="center")[0] for folder in folders for p in find_photographs(folder)[:4]]
    labels = np.repeat(np.arange(12), 4)
    scores = (rows := recognizer.embed(faces)) @ rows.T
    mated = (labels[:, None] == labels) & ~np.eye(48, dtype=bool)
    assert np.median(scores[mated]) > 0.5 > 0.3 > np.quantile(scores[labels[:, None] != labels], 0.99)


@pytest.mark.slow
def test_the_whole_set_reproduces_the_published_figures(shared: Path, tmp_path: Path) -> None:
    report = build_dataset(
        shared / "faces", tmp_path / "lfw", detector="yunet-n", models_dir=str(shared / "weights" / "yunet")
    )
    assert report.info["images"] >= 6130
    pairs = evaluate("sface", tmp_path / "lfw", pairs=shared / "faces" / "pairs.txt")
    assert 0.992 <= pairs.kfold.mean <= 0.998  # type: ignore[union-attr]
    found = evaluate("sface", tmp_path / "lfw", max_per_identity=10).verification  # type: ignore[union-attr]
    point = found.point(1e-3)
    assert (found.mated, found.non_mated) == (6989, 12_888_592)
    assert point.tar is not None and point.tar >= 0.984
    assert point.threshold == pytest.approx(0.365, abs=0.01)
