"""Published pair protocols on real photographs: a .bin set, templates, and the whole list of LFW."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import vultus
from vultus.data import FaceDataset, build_dataset
from vultus.evaluation import Pairs, parse_pairs
from vultus.evaluation.protocols.verification_sets import read_verification_set
from vultus.faces import find_photographs
from vultus.workflows import Embedder
from vultus.workflows.pairs import evaluate_pairs, evaluate_set, rows_of
from vultus.workflows.templates import evaluate_templates

PEOPLE, IMAGES = 12, 6


@pytest.fixture(scope="module")
def sface() -> Embedder:
    return Embedder("sface", vultus.load_recognizer("sface").embed)


@pytest.fixture(scope="module")
def people(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    """Six crops each of twelve people of LFW."""
    root = tmp_path_factory.mktemp("people")
    folders = [path for path in sorted((shared / "faces").iterdir()) if path.is_dir()]
    chosen = [path for path in folders if len(find_photographs(path)) >= IMAGES][:PEOPLE]
    lines = [f"{photo},{path.name}" for path in chosen for photo in find_photographs(path)[:IMAGES]]
    (root / "list.csv").write_text("\n".join(["path,identity", *lines]))
    build_dataset(root / "list.csv", root / "data")
    return FaceDataset.open(root / "data")


def test_insightface_s_own_crops_are_matched(shared: Path, sface: Embedder) -> None:
    """Its ten pairs are of one person each: SFace gives them the scores of one person (0.363 is its threshold)."""
    found = read_verification_set(shared / "images" / "containers" / "small_lfw.bin")
    rows = sface.embed(found.crops(range(20)))
    scores = np.einsum("nd,nd->n", rows[::2], rows[1::2])
    assert (scores > 0.363).sum() >= 9 and np.median(scores) > 0.5


def test_a_bin_set_of_real_crops(people: FaceDataset, sface: Embedder, tmp_path: Path) -> None:
    """Four folds of three people: two mated pairs each, and each with the next one."""
    rows = np.arange(PEOPLE * IMAGES).reshape(4, 3, IMAGES)
    images, same = [], []
    for fold in rows:
        for person, following in zip(fold, np.roll(fold, -1, axis=0), strict=True):
            images += [person[0], person[1], person[2], person[3], person[4], following[5], person[5], following[4]]
            same += [True, True, False, False]
    (tmp_path / "few.bin").write_bytes(pickle.dumps((people.encoded(images), same), protocol=2))
    found = evaluate_set(sface, tmp_path / "few.bin", folds=4)
    assert found.kfold.mean >= 46 / 48 and found.kfold.pairs == 48
    assert found.verification.mated == found.verification.non_mated == 24
    assert found.verification.auc > 0.99


def test_templates_of_real_photographs(people: FaceDataset, sface: Embedder, tmp_path: Path) -> None:
    """Two templates a person, of three photographs each; images 0 and 1 count as frames of one video."""
    sources, faces, pairs = people.sources, [], []
    for row, source in enumerate(sources):
        person, image = row // IMAGES, row % IMAGES
        faces.append(f"{source} {2 * person + image // 3} {IMAGES * person + max(1, image)}")
    pairs = [f"{2 * a} {2 * b + 1} {int(a == b)}" for a in range(PEOPLE) for b in range(PEOPLE)]
    (tmp_path / "few_face_tid_mid.txt").write_text("\n".join(faces))
    (tmp_path / "few_template_pair_label.txt").write_text("\n".join(pairs))
    found = evaluate_templates(sface, people, tmp_path)
    assert found.pooling == "N0D0F0" and found.verification.identities == PEOPLE
    assert (found.verification.mated, found.verification.non_mated) == (PEOPLE, PEOPLE * (PEOPLE - 1))
    assert found.verification.auc > 0.995
    tar = found.verification.point(1e-1).tar
    assert tar is not None and tar >= 11 / 12


@pytest.mark.slow
def test_the_list_of_lfw_and_its_bin_set_agree(shared: Path, sface: Embedder, tmp_path: Path) -> None:
    """3,000 pairs in five folds: 99.53 +- 0.16 % (README of the data), by the list and by a .bin set of its crops."""
    build_dataset(shared / "faces", tmp_path / "lfw", detector="yunet-n", models_dir=str(shared / "weights" / "yunet"))
    data = FaceDataset.open(tmp_path / "lfw")
    listed = evaluate_pairs(sface, data, shared / "faces" / "pairs.txt")
    assert 0.992 <= listed.kfold.mean <= 0.998 and listed.kfold.shared == 0 and listed.missing == 0
    pairs: Pairs = parse_pairs(shared / "faces" / "pairs.txt")
    images = np.stack(rows_of(pairs, data), axis=1).ravel()
    (tmp_path / "lfw5.bin").write_bytes(pickle.dumps((data.encoded(images), pairs.same.tolist())))
    packed = evaluate_set(sface, tmp_path / "lfw5.bin", folds=5)
    assert packed.kfold.mean == pytest.approx(listed.kfold.mean, abs=1e-3)
    assert packed.verification.point(1e-2).tar == pytest.approx(listed.verification.point(1e-2).tar, abs=1e-3)
