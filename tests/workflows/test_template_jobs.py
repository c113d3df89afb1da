"""A template protocol from its files to the figures, with an embedder that needs no model."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.workflows import Embedder
from vultus.workflows.templates import evaluate_templates


def raw_pictures(crops: np.ndarray) -> np.ndarray:
    """(N, 75) 5x5 pictures around their mean, as long as they are contrasty."""
    rows = np.stack([cv2.resize(crop, (5, 5), interpolation=cv2.INTER_AREA).ravel() for crop in crops])
    return rows.astype(np.float32) - rows.mean(axis=1, keepdims=True)


def small_pictures(crops: np.ndarray) -> np.ndarray:
    rows = raw_pictures(crops)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


EMBEDDER = Embedder("pictures", small_pictures)


@pytest.fixture(scope="module")
def protocol(procedural: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 people with two templates each: images 0, 1, 2 (0 and 1 frames of one video) and 3, 4, 5 (three photographs).

    The first templates are compared with all second ones: 40 mated and 1,560 non-mated pairs.
    """
    folder = tmp_path_factory.mktemp("protocol")
    names = FaceDataset.open(procedural).identities
    faces, pairs, scores = [], [], []
    for person, name in enumerate(names):
        for image in range(6):
            media = 10 * person + max(1, image)
            faces.append(f"{name}/{image:03d} {2 * person + image // 3} {media}")
            scores.append(f"{name}/{image:03d} " + "1.5 " * 10 + f"{0.9 - image / 100:.2f}")
        pairs += [f"{2 * person} {2 * other + 1} {int(person == other)}" for other in range(len(names))]
    (folder / "small_face_tid_mid.txt").write_text("\n".join(faces))
    (folder / "small_template_pair_label.txt").write_text("\n".join(pairs))
    (folder / "small_name_5pts_score.txt").write_text("\n".join(scores))
    return folder


def test_a_protocol_gives_tar_at_far(procedural: Path, protocol: Path) -> None:
    found = evaluate_templates(EMBEDDER, FaceDataset.open(procedural), protocol)
    assert (found.protocol, found.pooling) == ("small", "N0D1F0")  # detector scores are there, no flip in the contract
    assert (found.images, found.templates, found.missing_images, found.empty_templates) == (240, 80, 0, 0)
    assert (found.verification.mated, found.verification.non_mated) == (40, 1560)
    assert found.verification.by_identity and found.verification.identities == 40
    point = found.verification.point(1e-2)
    assert point.far_measured is not None and 0 < point.far_measured <= 1e-2
    json.dumps(found.to_dict(), allow_nan=False)


def test_templates_without_a_face_fail_and_are_counted(procedural: Path, protocol: Path) -> None:
    data = FaceDataset.open(procedural)
    name = data.identities[3]
    gone = {f"{name}/000", f"{name}/001", f"{name}/002", f"{data.identities[5]}/004"}
    kept = data.subset(np.array([i for i, source in enumerate(data.sources) if source not in gone]))
    found = evaluate_templates(EMBEDDER, kept, protocol)
    assert (found.missing_images, found.empty_templates) == (4, 1)
    assert (found.lost_mated, found.lost_non_mated) == (1, 39)
    assert found.verification.mated == 40 and found.verification.mated_failures == 1
    assert found.verification.non_mated == 1560 - 39  # nobody was rejected
    with pytest.raises(VultusError, match="has 12 of the 240 images of small"):
        evaluate_templates(EMBEDDER, data.subset(np.arange(12)), protocol)


def test_every_mode_that_can_be_had_and_no_other(procedural: Path, protocol: Path) -> None:
    data = FaceDataset.open(procedural)
    for mode, message in (
        ("N1D0F0", "length 1; use N0"),
        ("N0D0F1", "does not add mirror images"),
        ("N3", "no pooling"),
    ):
        with pytest.raises(VultusError, match=message):
            evaluate_templates(EMBEDDER, data, protocol, pooling=mode)
    with pytest.raises(VultusError, match="adds mirror images, so pooling N0D0F0"):
        evaluate_templates(EMBEDDER, data, protocol, pooling="N0D0F0", flips=True)
    figures = {
        mode: evaluate_templates(EMBEDDER, data, protocol, pooling=mode, raw=raw_pictures)
        for mode in ("N0D0F0", "N0D1F0", "N1D0F0", "N1D1F1", "N0D1F1")
    }
    assert all(found.pooling == mode for mode, found in figures.items())
    assert len({found.verification.auc for found in figures.values()}) == len(figures)  # each pools otherwise
    flipping = Embedder("flips", lambda crops: _unit(raw_pictures(crops) + raw_pictures(crops[:, :, ::-1])))
    same = evaluate_templates(flipping, data, protocol, flips=True)
    assert same.pooling == "N0D1F1"
    assert same.verification.auc == pytest.approx(figures["N0D1F1"].verification.auc, abs=1e-6)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_files_of_a_protocol_one_by_one(procedural: Path, protocol: Path) -> None:
    data = FaceDataset.open(procedural)
    faces, pairs = protocol / "small_face_tid_mid.txt", protocol / "small_template_pair_label.txt"
    assert evaluate_templates(EMBEDDER, data, faces, pairs).pooling == "N0D0F0"
    with pytest.raises(VultusError, match="brings none; use D0"):
        evaluate_templates(EMBEDDER, data, faces, pairs, pooling="N0D1F0")
    with pytest.raises(VultusError, match="give the file of their pairs too"):
        evaluate_templates(EMBEDDER, data, faces)
    with pytest.raises(VultusError, match="leave the other files out"):
        evaluate_templates(EMBEDDER, data, protocol, pairs)
