"""An evaluation with everything in it: searches, thresholds that were promised, conditions, groups, a profile."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.evaluation import calibrate
from vultus.workflows import Evaluation, evaluate
from vultus.workflows.embedder import Embedder


def thumbnails(crops: np.ndarray) -> np.ndarray:
    """Unit rows of shrunken crops: good enough on procedural faces."""
    rows = crops[:, ::8, ::8].reshape(len(crops), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def measured(procedural: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    folder = tmp_path_factory.mktemp("evidence")
    calibration = FaceDataset.open(procedural / "calibration")
    kept = calibrate(thumbnails(calibration.crops()), calibration.labels, source="procedural", contract_id="c")
    data = FaceDataset.open(procedural / "train")
    lines = [f"{name},{'ab'[place % 2]}" for place, name in enumerate(data.identities)]
    (folder / "groups.csv").write_text("\n".join(["identity,group", *lines]))
    result = evaluate(
        Embedder("thumbnails", thumbnails, "c", calibration=kept),
        procedural / "train",
        out=folder / "out",
        profile="phone-unlock",
        groups=str(folder / "groups.csv"),
        command="vultus evaluate thumbnails",
    )
    assert isinstance(result, Evaluation)
    return result, folder / "out"


def test_the_report_and_the_json_hold_every_part(measured: tuple[Evaluation, Path]) -> None:
    result, out = measured
    evidence = result.evidence
    assert evidence is not None and evidence.identification and evidence.growth and evidence.achieved
    assert evidence.conditions and evidence.discards and evidence.groups
    assert evidence.groups.names == ("a", "b") and evidence.groups.column == "groups.csv"
    html = (out / "report.html").read_text()
    for chapter in (
        "Verification",
        "Identification",
        "Thresholds",
        "Conditions",
        "Groups",
        "Worst pairs",
        "Provenance",
    ):
        assert re.search(f'<h2 class="chapter"[^>]*>{chapter}</h2>', html)
    assert "Good enough for: Phone unlock?" in html and "vultus evaluate thumbnails" in html
    assert not re.search(r'(src|href)="https?:', html)
    plain = json.loads((out / "figures.json").read_text())
    assert plain["profile"]["answer"] == result.judgement.answer  # type: ignore[union-attr]
    assert plain["dataset_digest"] == result.dataset_digest and plain["identification"]["sizes"]


def test_small_data_withholds_and_says_what_it_would_need(measured: tuple[Evaluation, Path]) -> None:
    result, _ = measured
    assert result.judgement is not None and result.judgement.answer in ("FAIL", "NOT ENOUGH EVIDENCE")
    point = result.verification.point(1e-4)
    assert point.tar is None and point.needs == 100_000 and point.needs_identities
    # 20 people with 6 images each make 6,840 non-mated pairs; as many images each, 76 people make 102,600.
    assert point.needs_identities == 76


def test_photographs_without_a_face_are_misses(procedural: Path, tmp_path: Path) -> None:
    root = tmp_path / "faces"
    shutil.copytree(procedural, root)
    name = FaceDataset.open(root / "test").identities[0]
    (root / "skipped.csv").write_text(f"path,identity,reason\n{name}/9.png,{name},no face found\n")
    embedder = Embedder("thumbnails", thumbnails)
    with_failure = evaluate(embedder, root / "test").verification  # type: ignore[union-attr]
    without = evaluate(embedder, procedural / "test").verification  # type: ignore[union-attr]
    # One lost photograph beside 6 that were found takes 6 comparisons, all misses.
    assert with_failure.mated_failures == 6 and with_failure.mated == without.mated + 6
    assert with_failure.non_mated == without.non_mated
    before, after = (found.point(0.1).tar for found in (without, with_failure))
    assert after == pytest.approx(before * without.mated / with_failure.mated)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "phone-unlok"}, "phone-unlock"),
        ({"groups": "sex"}, "--groups has no effect without --out"),
        ({"quality": "q.csv"}, "--quality has no effect without --pairs"),
        ({"pooling": "N0D0F0"}, "--pooling has no effect without --templates"),
        ({"pairs": "pairs.csv", "profile": "forensics"}, "--profile has no effect with --pairs"),
    ],
)
def test_options_that_do_nothing_are_refused(procedural: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(VultusError, match=message):
        evaluate(Embedder("thumbnails", thumbnails), procedural / "test", **options)  # type: ignore[arg-type]


def test_a_list_of_pairs_has_a_report_and_json_too(procedural: Path, tmp_path: Path) -> None:
    data = FaceDataset.open(procedural)
    names, sources = data.identities, data.sources
    first = [int(np.flatnonzero(data.labels == label)[0]) for label in range(len(names))]
    lines = ["fold,a,b,same"]
    for label, row in enumerate(first):
        lines.append(f"{label % 2},{sources[row]},{sources[row + 1]},1")
        lines.append(f"{label % 2},{sources[row]},{sources[first[(label + 2) % len(first)]]},0")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    evaluate(Embedder("thumbnails", thumbnails), procedural, pairs=tmp_path / "pairs.csv", out=tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    assert "Accuracy" in html and "threshold from the others" in html
    assert len(json.loads((tmp_path / "out" / "figures.json").read_text())["kfold"]["accuracies"]) == 2


def test_a_capped_view_has_a_share_of_the_photographs_without_a_face(procedural: Path, tmp_path: Path) -> None:
    root = tmp_path / "faces"
    shutil.copytree(procedural, root)
    name = FaceDataset.open(root / "test").identities[0]
    lines = ["path,identity,reason", *(f"{name}/{k}.png,{name},no face found" for k in range(9, 12))]
    (root / "skipped.csv").write_text("\n".join([*lines, "ghost/1.png,ghost,no face found"]))
    embedder = Embedder("thumbnails", thumbnails)
    found = evaluate(embedder, root / "test", max_per_identity=2, out=tmp_path / "out")
    # 6 crops and 3 photographs without a face; 2 of the crops come with 1 of the photographs: 2 comparisons are lost.
    assert found.verification.mated_failures == 2  # type: ignore[union-attr]
    json.loads((tmp_path / "out" / "figures.json").read_text(), parse_constant=pytest.fail)
    assert any("1 person is in no figure" in note for note in evaluate(embedder, root).notes)


def test_the_same_recogniser_is_as_good_against_itself_with_faces_that_were_not_found(
    procedural: Path, tmp_path: Path
) -> None:
    root = tmp_path / "faces"
    shutil.copytree(procedural, root)
    name = FaceDataset.open(root / "test").identities[0]
    (root / "skipped.csv").write_text(f"path,identity,reason\n{name}/9.png,{name},no face found\n")
    embedder = Embedder("thumbnails", thumbnails)
    found = evaluate(embedder, root / "test", against=embedder).against  # type: ignore[union-attr]
    assert found is not None
    for old, cross in zip(found.verification.points, found.cross.points, strict=True):
        assert old.tar is None or old.tar == pytest.approx(cross.tar, abs=1e-6)
