"""Evidence on real photographs: a calibration on some people, kept by others, and the whole report about them."""

from __future__ import annotations

from pathlib import Path

import pytest

import vultus
from vultus.data import FaceDataset, build_dataset, split_dataset
from vultus.errors import VultusError
from vultus.evaluation import calibrate
from vultus.evaluation.calibration import People
from vultus.workflows import Evaluation, evaluate
from vultus.workflows.embedder import Embedder


@pytest.fixture(scope="module")
def people(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 people of LFW with four photographs each, half for calibration, half for the test."""
    folder = tmp_path_factory.mktemp("evidence")
    lines = ["path,identity"]
    for person in sorted(path for path in (shared / "faces").iterdir() if path.is_dir()):
        photographs = sorted(person.glob("*.jpg"))[:4]
        if len(photographs) == 4 and len(lines) < 600:
            lines += [f"{photograph},{person.name}" for photograph in photographs]
    (folder / "list.csv").write_text("\n".join(lines))
    build_dataset(folder / "list.csv", folder / "data")
    split_dataset(folder / "data", {"calibration": 0.5, "test": 0.5}, seed=1)
    return folder / "data"


@pytest.mark.slow
def test_a_calibration_is_kept_by_other_people_and_refuses_its_own(people: Path, tmp_path: Path) -> None:
    sface = vultus.load_recognizer("sface")
    data = FaceDataset.open(people / "calibration")
    kept = calibrate(
        sface.embed(data.crops()),
        data.labels,
        source="half of 150 people",
        contract_id=sface.contract.id,
        people=People.of(data.identities, data.people),
    )
    embedder = Embedder("sface", sface.embed, sface.contract.id, calibration=kept)
    result = evaluate(embedder, people / "test", out=tmp_path, profile="phone-unlock")
    assert isinstance(result, Evaluation) and result.evidence is not None and result.judgement is not None
    assert result.evidence.achieved is not None and result.evidence.identification is not None
    assert {point.promised for point in result.evidence.achieved.points} >= {1e-1, 1e-2}
    assert all(point.kept for point in result.evidence.achieved.points)
    assert result.verification.point(1e-2).tar > 0.98  # type: ignore[operator]
    assert result.evidence.identification.sizes[-1].rank_one > 0.95
    assert not result.evidence.withheld
    html = (tmp_path / "report.html").read_text()
    assert html.count("data:image/jpeg") >= 24  # the worst pairs, as pictures
    with pytest.raises(VultusError, match="of the test were also in the calibration"):
        evaluate(embedder, people)


def test_two_recognisers_on_the_same_pairs(people: Path, shared: Path) -> None:
    """SFace and its half-blinded self: the paired interval of the difference excludes zero."""
    from vultus.evaluation import all_pairs, compare_paired

    data = FaceDataset.open(people / "test")
    crops, sface = data.crops(), vultus.load_recognizer("sface")
    blinded = crops.copy()
    blinded[:, 56:] = 127  # mouth and chin
    seen, half = (all_pairs(sface.embed(pictures), data.labels) for pictures in (crops, blinded))
    (difference,) = compare_paired(seen, half, (1e-2,))
    assert difference.interval is not None and difference.value is not None
    low, high = difference.interval
    assert 0 < low <= difference.value <= high and difference.excludes_zero
    (nothing,) = compare_paired(seen, seen, (1e-2,))
    assert nothing.value == 0 and not nothing.excludes_zero
