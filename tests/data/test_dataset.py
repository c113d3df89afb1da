"""Datasets on disk: building, views, splits, resuming."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vultus.data import CropWriter, FaceDataset, build_dataset, split_dataset
from vultus.data.dataset import decode_crop, encode_crop
from vultus.errors import VultusError


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Aligned crops of five people, one to five images each, and one broken file."""
    root = tmp_path / "people"
    random = np.random.default_rng(0)
    for person in range(5):
        (root / f"p{person}").mkdir(parents=True)
        for image in range(person + 1):
            smooth = cv2.resize(random.integers(0, 256, (7, 7, 3)).astype(np.uint8), (112, 112))
            Image.fromarray(smooth).save(root / f"p{person}" / f"{image}.png")
    (root / "p4" / "broken.jpg").write_bytes(b"no picture")
    return root


def test_build_skips_and_lists_what_is_broken(folders: Path, tmp_path: Path) -> None:
    report = build_dataset(folders, tmp_path / "out", aligned=True, workers=1)
    assert report.info["images"] == 15 and report.info["identities"] == 5
    assert report.info["identities_with_two_or_more"] == 4
    with (tmp_path / "out" / "skipped.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["p4/broken.jpg"] and "no" in rows[0]["reason"]
    data = FaceDataset.open(tmp_path / "out")
    assert data.identities == [f"p{i}" for i in range(5)]
    assert data.counts.tolist() == [1, 2, 3, 4, 5]
    source = np.asarray(Image.open(folders / data.sources[7]))
    assert np.abs(data.crop(7).astype(int) - source).mean() < 2  # JPEG 95
    assert data.crops([7, 3]).shape == (2, 112, 112, 3)
    np.testing.assert_array_equal(data.crops([7, 3])[0], data.crop(7))


def test_a_csv_does_the_same(folders: Path, tmp_path: Path) -> None:
    lines = ["path,identity", *(f"{p.relative_to(folders)},{p.parent.name}" for p in sorted(folders.rglob("*.png")))]
    (folders / "list.csv").write_text("\n".join(lines))
    build_dataset(folders, tmp_path / "a", aligned=True, workers=1)
    build_dataset(folders / "list.csv", tmp_path / "b", aligned=True, workers=1)
    assert FaceDataset.open(tmp_path / "a").digest == FaceDataset.open(tmp_path / "b").digest


def test_further_columns_of_a_csv_are_kept(folders: Path, tmp_path: Path) -> None:
    lines = ["sex,path,identity,camera", "f,p1/0.png,p1,a", ",p0/0.png,p0,b", "f,p1/1.png,p1,"]
    (folders / "list.csv").write_text("\n".join(lines))
    build_dataset(folders / "list.csv", tmp_path / "b", aligned=True, workers=1)
    data = FaceDataset.open(tmp_path / "b")
    assert data.sources == ["p0/0.png", "p1/0.png", "p1/1.png"]
    assert data.column("sex") == [None, "f", "f"]
    assert data.subset(np.array([2, 1])).column("camera") == [None, "a"]
    (folders / "list.csv").write_text("path,identity,source\np1/0.png,p1,x")
    with pytest.raises(VultusError, match="a dataset has a column source of its own"):
        build_dataset(folders / "list.csv", tmp_path / "c", aligned=True, workers=1)


def test_an_interrupted_build_goes_on_where_it_stopped(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vultus.data import build

    monkeypatch.setattr(build, "PIECE", 4)
    cut, calls = build._cut_piece, []

    def failing(piece, **settings):
        calls.append(len(piece))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return cut(piece, **settings)

    monkeypatch.setattr(build, "_cut_piece", failing)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(folders, tmp_path / "out", aligned=True, workers=1)
    with pytest.raises(VultusError, match="no vultus dataset"):
        FaceDataset.open(tmp_path / "out")
    calls[:] = [0] * 9  # past the failure
    build_dataset(folders, tmp_path / "out", aligned=True, workers=1)
    assert calls[9:] == [4, 4]  # the third and the last piece
    monkeypatch.undo()
    build_dataset(folders, tmp_path / "whole", aligned=True, workers=1)
    assert FaceDataset.open(tmp_path / "out").digest == FaceDataset.open(tmp_path / "whole").digest


def test_pieces_of_another_plan_are_discarded(tmp_path: Path) -> None:
    row = {"crop": encode_crop(np.zeros((112, 112, 3), np.uint8)), "identity": "a", "source": "a/1"}
    row |= {"box": [], "landmarks": [], "detection_score": 1.0}
    CropWriter(tmp_path / "d", "one").add(0, [row])
    assert CropWriter(tmp_path / "d", "one").has(0)
    assert not CropWriter(tmp_path / "d", "two").has(0)


@pytest.mark.parametrize("case", ["missing", "empty", "loose", "columns", "all broken", "in use"])
def test_mistakes_are_one_line_and_leave_nothing(case: str, tmp_path: Path, folders: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    if case != "missing":
        source.mkdir()
    if case == "loose":
        Image.new("RGB", (9, 9)).save(source / "1.png")
    if case == "columns":
        source = tmp_path / "list.csv"
        source.write_text("file,name\na,b\n")
    if case == "all broken":
        (source / "a").mkdir()
        (source / "a" / "1.jpg").write_bytes(b"x")
    if case == "in use":
        source = folders
        out.mkdir()
        (out / "mine.txt").write_text("keep")
    with pytest.raises(VultusError) as caught:
        build_dataset(source, out, aligned=True, workers=1)
    assert "\n" not in str(caught.value)
    assert not (out / "dataset.json").exists()
    assert case != "in use" or (out / "mine.txt").read_text() == "keep"


def test_a_total_failure_leaves_nothing_and_is_not_remembered(tmp_path: Path) -> None:
    photo = tmp_path / "in" / "a" / "1.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"x")
    with pytest.raises(VultusError, match="none of the 1"):
        build_dataset(tmp_path / "in", tmp_path / "out", aligned=True)
    assert not (tmp_path / "out").exists()
    Image.new("RGB", (112, 112)).save(photo)
    assert build_dataset(tmp_path / "in", tmp_path / "out", aligned=True).info["images"] == 1


def test_aligned_crops_are_never_stretched(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    Image.new("RGB", (96, 112), (200, 100, 50)).save(folder / "narrow.png")
    Image.new("RGB", (112, 100)).save(folder / "wide.png")
    Image.new("RGB", (224, 224)).save(folder / "large.png")
    report = build_dataset(tmp_path / "in", tmp_path / "out", aligned=True)
    assert [path for path, _ in report.skipped] == ["a/wide.png"]
    data = FaceDataset.open(tmp_path / "out")
    narrow = data.crop(data.sources.index("a/narrow.png"))
    assert narrow[:, :6].max() < 30 and narrow[:, 12:100].min() > 30


def test_a_listing_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes("path,identity\nx.jpg,Jos\xe9\n".encode("latin-1"))
    with pytest.raises(VultusError, match="UTF-8"):
        build_dataset(tmp_path / "l.csv", tmp_path / "out")


def test_splits_share_no_identity_and_leave_the_crops_alone(procedural: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (procedural / "crops").rglob("*")}
    names = ("train", "val", "calibration", "test")
    views = {name: FaceDataset.open(procedural / name) for name in names}
    seen: set[str] = set()
    for view in views.values():
        assert not seen & set(view.identities)
        seen |= set(view.identities)
        assert sorted(set(view.labels.tolist())) == list(range(len(view.identities)))
    assert len(seen) == 40
    rows = np.concatenate([view.rows for view in views.values()])
    assert len(np.unique(rows)) == 240
    assert {p: p.stat().st_mtime_ns for p in (procedural / "crops").rglob("*")} == before


def test_the_same_seed_gives_the_same_split(folders: Path, tmp_path: Path) -> None:
    build_dataset(folders, tmp_path / "d", aligned=True, workers=1)

    def rows(seed: int) -> list[int]:
        split_dataset(tmp_path / "d", {"a": 0.5, "b": 0.5}, seed=seed)
        return FaceDataset.open(tmp_path / "d" / "a").rows.tolist()

    assert rows(1) == rows(1)
    assert any(rows(1) != rows(seed) for seed in range(2, 8))


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ({}, "at least one"),
        ({"a": 0.9, "b": 0.3}, "more than 1"),
        ({"a": 0.0}, "above 0"),
        ({"../a": 0.5}, "letters"),
        ({"a": 0.9, "b": 0.01}, "none"),
    ],
)
def test_impossible_splits_are_refused(fractions: dict, words: str, folders: Path, tmp_path: Path) -> None:
    build_dataset(folders, tmp_path / "d", aligned=True, workers=1)
    with pytest.raises(VultusError, match=words):
        split_dataset(tmp_path / "d", fractions)
    assert not (tmp_path / "d" / "splits").exists()


def test_an_unknown_split_names_those_there_are(procedural: Path) -> None:
    with pytest.raises(VultusError, match="calibration, test, train, val"):
        FaceDataset.open(procedural / "tset")


def test_exclusions_leave_every_view(folders: Path, tmp_path: Path) -> None:
    build_dataset(folders, tmp_path / "d", aligned=True, workers=1)
    before = FaceDataset.open(tmp_path / "d")
    (tmp_path / "d" / "exclusions").mkdir()
    np.save(tmp_path / "d" / "exclusions" / "wrong.npy", np.array([0, 3]))
    after = FaceDataset.open(tmp_path / "d")
    assert len(after) == len(before) - 2 and after.identities == before.identities[1:]
    assert after.digest != before.digest


def test_at_most_and_at_least(procedural: Path) -> None:
    data = FaceDataset.open(procedural / "test")
    assert data.at_most(2).counts.tolist() == [2] * len(data.identities)
    assert len(data.at_least(6)) == len(data)
    with pytest.raises(VultusError, match="7 or more"):
        data.at_least(7)


def test_encoding_keeps_colour_order() -> None:
    crop = np.zeros((112, 112, 3), np.uint8)
    crop[:, :] = (220, 40, 10)
    assert np.abs(decode_crop(encode_crop(crop)).astype(int) - crop).max() < 4


def test_a_shifted_copy_shows_the_same_people(procedural: Path, tmp_path: Path) -> None:
    from vultus.data import Seen
    from vultus.workflows.shift import shift_dataset

    shift_dataset(procedural, tmp_path / "masked", "mask", seed=1, workers=1)
    clean, masked = (FaceDataset.open(root / "train") for root in (procedural, tmp_path / "masked"))
    assert masked.people == clean.people and masked.digest != clean.digest
    assert masked.sources == clean.sources and masked.identities == clean.identities
    assert not np.array_equal(masked.crop(0), clean.crop(0))
    seen = Seen.of(clean, None)
    assert seen.overlap(masked) == (len(clean.identities), 0)
    assert Seen.of(masked, None).overlap(clean) == (len(clean.identities), 0)
    shift_dataset(procedural, tmp_path / "again", "mask", seed=1, workers=1)
    assert FaceDataset.open(tmp_path / "again").digest == FaceDataset.open(tmp_path / "masked").digest
    with pytest.raises(VultusError, match="choose mask or low-quality"):
        shift_dataset(procedural, tmp_path / "x", "fog")
    with pytest.raises(VultusError, match="shift the whole dataset"):
        shift_dataset(procedural / "train", tmp_path / "x", "mask")


def test_a_shifted_copy_keeps_failures_further_columns_and_exclusions(tmp_path: Path) -> None:
    from vultus.data.failures import photographs_without_face
    from vultus.workflows.shift import shift_dataset

    crop = encode_crop(np.full((112, 112, 3), 90, np.uint8))
    plain = {"crop": crop, "box": [0.0, 0.0, 9.0, 9.0], "landmarks": [], "detection_score": 1.0}
    rows = [{**plain, "identity": who, "source": f"{who}/{k}.jpg"} for who in ("ann", "bob") for k in range(2)]
    root = tmp_path / "set"
    writer = CropWriter(root, "plan")
    writer.add(0, rows)
    writer.finish(1, (112, 112), {}, {"light": {("ann", "ann/1.jpg"): "dark", ("bob", "bob/0.jpg"): "bright"}})
    (root / "skipped.csv").write_text("path,identity,reason\nbob/9.jpg,bob,no face found\n", encoding="utf-8")
    for folder, name, chosen in (("splits", "test", [0, 2, 3]), ("exclusions", "duplicates", [0])):
        (root / folder).mkdir()
        np.save(root / folder / f"{name}.npy", np.array(chosen))
    shift_dataset(root, tmp_path / "masked", "mask", workers=1)
    whole, test = (FaceDataset.open(tmp_path / "masked" / name) for name in ("", "test"))
    assert whole.column("light") == ["dark", "bright", None]
    assert photographs_without_face(whole).tolist() == [0, 1]
    assert test.sources == ["bob/0.jpg", "bob/1.jpg"]
