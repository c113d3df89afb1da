"""Whole jobs on a small procedural dataset, by the command line as a person types it."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vultus
from vultus.cli import main
from vultus.data import FaceDataset, split_dataset
from vultus.errors import VultusError
from vultus.evaluation import parse_pairs
from vultus.workflows import evaluate
from vultus.workflows.export import export


def run(*words: object, code: int = 0) -> str:
    """What the command prints on both streams; in this process, which has torch loaded already."""
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vultus", *map(str, words)])
        patch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as caught:
            main()
            sys.exit(0)
    assert (caught.value.code or 0) == code, output.getvalue()
    return output.getvalue()


def test_the_installed_command_exits_2_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vultus", "data", "info", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def trained(procedural: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job") / "run"
    recipe = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
    run("train", recipe, f"data.train={procedural}/train", f"run={folder}", "training.minutes=0.05")
    return folder


@pytest.fixture(scope="module")
def exported(trained: Path, procedural: Path) -> Path:
    path = trained.parent / "first.onnx"
    out = run("export", trained, "--calibrate", procedural / "calibration", "--out", path)
    assert "contract vultus1-" in out and "FMR 0.1" in out
    return path


def test_a_run_is_evaluated_with_a_report(trained: Path, procedural: Path, tmp_path: Path) -> None:
    out = run("evaluate", trained, procedural / "test", "--out", tmp_path / "eval", "--max-per-identity", 4)
    assert "procedural faces" in out and "needs 1,000,000 pairs" in " ".join(out.split())
    figures = json.loads((tmp_path / "eval" / "figures.json").read_text())
    assert figures["images"] == 32 and figures["identities"] == 8 and figures["mated"] == 8 * 6
    html = (tmp_path / "eval" / "report.html").read_text()
    assert html.count("data:image/") > 8 and not re.search(r'(src|href)="https?:', html)
    assert "Training" in html


def test_a_contact_sheet(procedural: Path, tmp_path: Path) -> None:
    out = run("data", "info", procedural / "test", "--sheet", tmp_path / "sheet.png")
    assert "48" in out and "procedural=True" in out.replace("\n", "")
    assert Image.open(tmp_path / "sheet.png").size[0] > 500


def test_evidence_on_trained_people_is_marked(trained: Path, procedural: Path) -> None:
    found = evaluate(trained, procedural / "train", max_per_identity=2)
    assert any("TRAINED" in note for note in found.notes)
    assert not any("TRAINED" in note for note in evaluate(trained, procedural / "test", max_per_identity=2).notes)


def test_thresholds_come_from_people_kept_apart(trained: Path, procedural: Path, tmp_path: Path) -> None:
    for split, role in (("train", "training"), ("val", "validation")):
        out = run("export", trained, "--calibrate", procedural / split, "--out", tmp_path / "x.onnx", code=2)
        assert "identities with the" in out and role in out
    assert not list(tmp_path.iterdir())


def test_people_seen_in_training_are_known_after_splitting_again_and_in_the_model_file(
    trained: Path, exported: Path, procedural: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(procedural, moved)
    split_dataset(moved, {"calibration": 0.9, "rest": 0.1}, seed=99)
    with pytest.raises(VultusError, match="identities with the training data"):
        export(trained, tmp_path / "x.onnx", calibrate_data=moved / "calibration")
    notes = evaluate(trained, moved, max_per_identity=2).notes
    assert any("20 of the 40 identities were TRAINED on" in note for note in notes)
    assert any("chosen on 6" in note for note in notes)
    with pytest.raises(VultusError, match="6 of the 40 identities of the test were also in the calibration"):
        evaluate(exported, moved)
    (note, *_) = evaluate(exported, procedural / "train", max_per_identity=2).notes[1:]
    assert "20 of the 20 identities were TRAINED on" in note


def test_torch_and_onnx_give_the_same_figures(trained: Path, exported: Path, procedural: Path) -> None:
    ours = evaluate(exported, procedural / "test").verification  # type: ignore[union-attr]
    theirs = evaluate(trained, procedural / "test").verification  # type: ignore[union-attr]
    assert ours.auc == pytest.approx(theirs.auc, abs=2e-3)


def test_pairs_by_number_and_by_path(exported: Path, procedural: Path, tmp_path: Path) -> None:
    data = FaceDataset.open(procedural)
    names = data.identities[:8]
    lines = ["2\t4"]
    for fold in (names[:4], names[4:]):
        lines += [f"{name}\t0\t3" for name in fold]
        lines += [f"{a}\t1\t{b}\t2" for a, b in zip(fold, fold[1:] + fold[:1], strict=True)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    rows = ["fold,a,b,same"]
    for fold, same, (a, b), (i, j) in zip(
        parse_pairs(tmp_path / "pairs.txt").folds,
        parse_pairs(tmp_path / "pairs.txt").same,
        parse_pairs(tmp_path / "pairs.txt").names,
        parse_pairs(tmp_path / "pairs.txt").numbers,
        strict=True,
    ):
        rows.append(f"{fold},{a}/{i:03d},{b}/{j:03d},{int(same)}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    by_number = evaluate(exported, procedural, pairs=tmp_path / "pairs.txt")
    by_path = evaluate(exported, procedural, pairs=tmp_path / "pairs.csv")
    assert by_number.missing == by_path.missing == 0  # type: ignore[union-attr]
    assert by_number.kfold.mean == by_path.kfold.mean  # type: ignore[union-attr]
    (tmp_path / "other.csv").write_text("0,x/1,y/2,1\n1,x/1,z/1,0")
    with pytest.raises(VultusError, match="2 of the 2 pairs"):
        evaluate(exported, procedural, pairs=tmp_path / "other.csv")


def test_a_gallery_by_embeddings_with_the_models_own_thresholds(
    exported: Path, procedural: Path, tmp_path: Path
) -> None:
    data = FaceDataset.open(procedural / "test")
    recognizer = vultus.load_recognizer(exported)
    embeddings = recognizer.embed(data.crops())
    with vultus.Gallery.open(tmp_path / "people.db", model=exported) as gallery:
        gallery.enroll_embeddings("alice", embeddings[:2], recognizer.contract.id)
        (decision,) = gallery.identify_embeddings(embeddings[:1], recognizer.contract.id, fpir=0.5)
        assert decision.kind == "match" and decision.person == "alice"
        with pytest.raises(VultusError, match="below what this calibration supports"):
            gallery.identify_embeddings(embeddings[:1], recognizer.contract.id, fpir=1e-6)
    assert np.isclose(decision.score or 0, 1, atol=1e-5)


def test_a_calibration_file_for_a_foreign_model(exported: Path, procedural: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    run("evaluate", exported, procedural / "calibration", "--calibration", path, "--source", "test words")
    assert json.loads(path.read_text())["source"] == "test words"
    assert json.loads(path.read_text())["contract_id"] == vultus.load_recognizer(exported).contract.id


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("evaluate", "sface", "nowhere"), "no vultus dataset"),
        (("evaluate", "sfase", "{data}"), "did you mean 'sface'"),
        (("evaluate", "{data}/none.onnx", "{data}"), "does not exist"),
        (("evaluate", "sface", "{data}", "--pairs", "none.txt"), "none.txt"),
        (("train", "none.yaml"), "does not exist"),
        (("train", "--resume", "{data}"), "no run directory"),
        (("export", "{data}", "--out", "{out}/x.onnx"), "no run directory"),
        (("data", "build", "{out}", "--out", "{out}/d"), "no identity folders"),
        (("data", "split", "{data}", "train"), "NAME=SHARE"),
        (("data", "split", "{data}", "train=0.5", "train=0.3"), "given twice"),
        (("data", "split", "{data}/train", "a=0.5"), "is a split of"),
        (("data", "info", "{data}", "--sheet", "{out}/sheet.xyz"), ".png"),
        (("evaluate", "sface", "{data}", "--pairs", "p.txt", "--profile", "forensics"), "no effect with --pairs"),
        (("evaluate", "sface", "{data}/test", "--out", "{data}/dataset.json"), "cannot write into"),
        (("models", "list", "--models", "{out}/none"), "does not exist"),
        (("data", "split", "{data}", "train=0.5", "--by", "image"), "only identity"),
        (("gallery", "list", "--gallery", "{out}/none.db"), "none.db"),
        (("gallery", "identify", "--gallery", "{out}/none.db", "x.jpg"), "none.db"),
        (("gallery", "enroll", "--gallery", "{out}/new.db", "alice", "x.jpg"), "model"),
        (("gallery", "enroll", "--gallery", "{out}/new.db", "--model", "sface", "alice", "{out}/x.jpg"), "x.jpg"),
        (("models", "list", "--backbones", "--models", "{out}/none"), None),
        (("demo", "--out", "{data}"), "not empty"),
        (("demo", "--out", "{out}/demo", "--photos", "{out}"), "no identity folders"),
    ],
)
def test_a_mistake_is_one_line_exit_2_and_nothing_half_written(
    words: tuple[str, ...], hint: str | None, procedural: Path, tmp_path: Path
) -> None:
    filled = [word.format(data=procedural, out=tmp_path) for word in words]
    if hint is None:
        assert "iresnet100" in run(*filled)
        return
    out = run(*filled, code=2)
    message = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(message) == 1 and hint in message[0]
    left = {path.name for path in tmp_path.iterdir()} - {"demo"}
    assert not left, left
