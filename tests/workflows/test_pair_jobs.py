"""Lists of pairs and .bin sets, from the file to the figures, with an embedder that needs no model."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.workflows import Embedder
from vultus.workflows.pairs import evaluate_pairs, evaluate_set


def small_pictures(crops: np.ndarray) -> np.ndarray:
    """Unit rows (N, 75) of 5x5 pictures around their mean."""
    rows = np.stack([cv2.resize(crop, (5, 5), interpolation=cv2.INTER_AREA).ravel() for crop in crops])
    rows = rows.astype(np.float32) - rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


EMBEDDER = Embedder("pictures", small_pictures)


def write_list(path: Path, data: FaceDataset, folds: int = 4, people: int = 5) -> list[tuple[int, str, str, int]]:
    """Folds of `people` each: 0-1, 2-3 of one person, 4-5 of neighbours; as a CSV and as an LFW list."""
    rows, lines = [], [f"{folds}\t{2 * people}"]
    for fold in range(folds):
        names = data.identities[fold * people : (fold + 1) * people]
        mated = [(name, a, name, a + 1) for name in names for a in (0, 2)]
        others = [(a, i, b, i) for a, b in zip(names, names[1:] + names[:1], strict=True) for i in (4, 5)]
        rows += [(fold, f"{a}/{i:03d}", f"{b}/{j:03d}", int(a == b)) for a, i, b, j in mated + others]
        lines += [f"{a}\t{i}\t{j}" for a, i, _, j in mated] + [f"{a}\t{i}\t{b}\t{j}" for a, i, b, j in others]
    path.with_suffix(".csv").write_text("fold,a,b,same\n" + "\n".join(",".join(map(str, row)) for row in rows))
    path.with_suffix(".txt").write_text("\n".join(lines))
    return rows


def test_a_list_gives_accuracy_and_rates(procedural: Path, tmp_path: Path) -> None:
    data = FaceDataset.open(procedural)
    write_list(tmp_path / "pairs", data)
    found = evaluate_pairs(EMBEDDER, data, tmp_path / "pairs.txt")
    assert found.kfold.pairs == 80 and found.kfold.by_identity and found.kfold.shared == 0
    assert found.verification.mated == found.verification.non_mated == 40 and found.verification.by_identity
    assert found.verification.identities == 20 and found.missing == 0 and found.notes == ()
    by_path = evaluate_pairs(EMBEDDER, data, tmp_path / "pairs.csv")
    assert by_path.kfold.interval == found.kfold.interval  # the dataset says whose the images are
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_image_of_which_there_are_several_crops_is_refused_where_a_pair_names_it(
    procedural: Path, tmp_path: Path
) -> None:
    data = FaceDataset.open(procedural)
    write_list(tmp_path / "pairs", data)
    assert evaluate_pairs(EMBEDDER, data, tmp_path / "pairs.txt").missing == 0
    named = data.sources.index(f"{data.identities[0]}/001")
    assert data.identities[-1] not in (tmp_path / "pairs.txt").read_text()
    other = data.sources.index(f"{data.identities[-1]}/000")
    twice = data.subset(np.array([*range(len(data)), other]))
    assert evaluate_pairs(EMBEDDER, twice, tmp_path / "pairs.txt").missing == 0
    twice = data.subset(np.array([*range(len(data)), named]))
    with pytest.raises(VultusError) as refused:
        evaluate_pairs(EMBEDDER, twice, tmp_path / "pairs.txt")
    assert refused.value.code == "several_crops" and refused.value.fields["sources"] == [data.sources[named]] * 2


def test_folders_before_the_paths_do_not_matter(procedural: Path, tmp_path: Path) -> None:
    data = FaceDataset.open(procedural)
    rows = write_list(tmp_path / "pairs", data)
    moved = "\n".join(f"{fold},Data/Images/{a},Data/Images/{b},{same}" for fold, a, b, same in rows)
    (tmp_path / "moved.csv").write_text(moved)
    assert evaluate_pairs(EMBEDDER, data, tmp_path / "moved.csv").missing == 0


@pytest.mark.parametrize("form", ["csv", "txt"])
def test_a_pair_without_a_face_fails_or_is_rejected_as_the_protocol_says(
    procedural: Path, tmp_path: Path, form: str
) -> None:
    shutil.copytree(procedural, tmp_path / "data")
    data = FaceDataset.open(tmp_path / "data")
    rows = write_list(tmp_path / "pairs", data)
    gone = {rows[0][1], rows[10][1]}  # one image of a mated pair and one of two non-mated pairs
    kept = data.subset(np.array([i for i, source in enumerate(data.sources) if source not in gone]))
    with_faces = evaluate_pairs(EMBEDDER, data, tmp_path / f"pairs.{form}")
    found = evaluate_pairs(EMBEDDER, kept, tmp_path / f"pairs.{form}")
    assert any("nothing is known" in note for note in found.notes)
    lines = [f"{source},{source.split('/')[0]},no face found" for source in sorted(gone)]
    (tmp_path / "data" / "skipped.csv").write_text("\n".join(["path,identity,reason", *lines]))
    found = evaluate_pairs(EMBEDDER, kept, tmp_path / f"pairs.{form}")
    assert not any("nothing is known" in note for note in found.notes)
    assert any("3 of the 80 pairs" in note and "1 of one person fail, 2 of two" in note for note in found.notes)
    assert found.missing == 3 and found.verification.mated_failures == 1
    lost = np.array([bool(gone & {a, b}) for _, a, b, _ in rows])
    same = np.array([bool(row[3]) for row in rows])
    assert (found.kfold.right[lost] == ~same[lost]).all()  # in the accuracy, mated ones wrong and the others right
    assert found.verification.mated == with_faces.verification.mated
    # The rate of strangers who pass is not made better by photographs that nobody could compare.
    assert found.verification.non_mated == with_faces.verification.non_mated - 2


def test_a_list_of_other_data_and_of_another_split_is_refused(procedural: Path, tmp_path: Path) -> None:
    data = FaceDataset.open(procedural)
    rows = write_list(tmp_path / "pairs", data)
    with pytest.raises(VultusError, match="the data that the list is of"):
        evaluate_pairs(EMBEDDER, data.subset(np.arange(3)), tmp_path / "pairs.csv")
    shutil.copytree(procedural, tmp_path / "data")
    people = {name for row in rows[:60] for name in (row[1].split("/")[0], row[2].split("/")[0])}
    inside = np.array([i for i, label in enumerate(data.labels) if data.identities[label] in people])
    (tmp_path / "data" / "splits").mkdir(exist_ok=True)
    np.save(tmp_path / "data" / "splits" / "some.npy", data.rows[inside])
    with pytest.raises(VultusError, match="give the whole dataset"):
        evaluate_pairs(EMBEDDER, FaceDataset.open(tmp_path / "data" / "some"), tmp_path / "pairs.csv")


def test_a_list_that_contradicts_the_data_is_reported(procedural: Path, tmp_path: Path) -> None:
    data = FaceDataset.open(procedural)
    rows = write_list(tmp_path / "pairs", data)
    rows[0] = (rows[0][0], rows[0][1], rows[-1][2], 1)  # two people called one
    (tmp_path / "wrong.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    found = evaluate_pairs(EMBEDDER, data, tmp_path / "wrong.csv")
    assert not found.kfold.by_identity and any("1 pairs contradict" in note for note in found.notes)
    rows[0] = (rows[0][0], rows[0][1], rows[0][1], 1)
    (tmp_path / "wrong.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    with pytest.raises(VultusError, match="pair 1 compares an image with itself"):
        evaluate_pairs(EMBEDDER, data, tmp_path / "wrong.csv")


def test_a_list_by_quality(procedural: Path, tmp_path: Path) -> None:
    data = FaceDataset.open(procedural)
    write_list(tmp_path / "pairs", data, folds=10, people=4)
    rows = (tmp_path / "pairs.csv").read_text().splitlines()[1:]
    # Images 0 and 2 beside 4 and 5: each non-mated pair once more, so that 160 of them support FAR 1e-1.
    again = [row.replace("/004", "/000").replace("/005", "/002") for row in rows if row.endswith(",0")]
    (tmp_path / "more.csv").write_text("\n".join(rows + again))
    (tmp_path / "quality.csv").write_text("\n".join(f"{source},{int(source[-1])}" for source in data.sources))
    found = evaluate_pairs(EMBEDDER, data, tmp_path / "more.csv", quality=tmp_path / "quality.csv", bins=[1, 3])
    # Mated pairs are of images 0-1 (worse: 0) and 2-3 (2), non-mated ones of two equal numbers 4, 5, 0 or 2.
    assert [(part.low, part.high, part.mated, part.non_mated) for part in found.quality] == [
        (0, 0, 40, 40),
        (2, 2, 40, 40),
        (4, 5, 0, 80),
    ]
    point = found.verification.point(0.1)
    assert found.quality_far == 0.1 and point.fmr and point.fnmr
    assert sum(part.fmr.errors for part in found.quality) == point.fmr.errors
    assert sum(part.fnmr.errors for part in found.quality) == point.fnmr.errors
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_bin_set_gives_the_same_as_the_list_it_was_made_of(procedural: Path, tmp_path: Path) -> None:
    data = FaceDataset.open(procedural)
    rows = write_list(tmp_path / "pairs", data)
    row_of = {source: i for i, source in enumerate(data.sources)}
    images = data.encoded([row_of[path] for row in rows for path in row[1:3]])
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((images, [bool(row[3]) for row in rows])))
    found = evaluate_set(EMBEDDER, tmp_path / "lfw.bin", folds=4)
    listed = evaluate_pairs(EMBEDDER, data, tmp_path / "pairs.csv")
    assert found.kfold.thresholds.tolist() == pytest.approx(listed.kfold.thresholds.tolist(), abs=1e-6)
    assert found.kfold.mean == listed.kfold.mean
    assert found.kfold.by_identity and any("names nobody" in note for note in found.notes)
    assert any("6,000 pairs, this file 80" in note for note in found.notes)


def test_a_bin_set_of_one_kind_is_refused(shared: Path) -> None:
    with pytest.raises(VultusError, match="holds mated pairs only"):
        evaluate_set(EMBEDDER, shared / "images" / "containers" / "small_lfw.bin")
