"""What the demo shows: a short table at the end and report.html with pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

import vultus
from vultus.data import FaceDataset
from vultus.data.dataset import encode_crop
from vultus.data.synth import contact_sheet
from vultus.evaluation import OperatingPoint, Verification, figures
from vultus.evaluation import report as page
from vultus.workflows.evaluation_report import curves, measured
from vultus.workflows.results import DemoResult, Search, write_figures

FAR = 1e-2
WORDS = """A comparison gives a score: the more alike two faces, the higher. A threshold turns the score into yes or no.

- FAR: how often two different people are taken for one. You choose it; the threshold follows.
- TAR: how often two photographs of one person are recognised as such at that threshold.
- FPIR: how often a stranger, compared with everybody enrolled, is given a name. It grows with their number.
"""


def write_demo_report(result: DemoResult) -> None:
    """Write report.html into the demo's folder."""
    root = result.folder
    train, test = FaceDataset.open(root / "data" / "train"), FaceDataset.open(root / "data" / "test")
    kind = "procedural faces" if result.procedural else "your photographs"
    sections: list[page.Section] = []
    if result.procedural:
        sections.append(
            page.Text(
                "These faces are drawn by a program. They are no people, and the figures say nothing about real "
                "ones: real photographs are much harder.",
                kind="note",
            )
        )
    else:
        sections.append(
            page.Text(
                "Trained from scratch on few photographs in a few minutes: this shows the way, it is no recogniser "
                "to rely on.",
                kind="note",
            )
        )
    sections += [
        page.Text(
            f"A network learned to tell {len(train.identities):,} people apart on {len(train):,} images. It was then "
            f"measured on {len(test.identities):,} other people, whom it never saw, given thresholds on a third group, "
            "and used to find enrolled people of a fourth.",
            title="What happened",
        ),
        page.Figure(_sheet(train), "Some of the training identities, a row each.", title="The faces"),
        page.Text(WORDS, title="In plain words"),
        *_comparison(result),
        *_decisions(result),
        *measured(result.evaluation, test),
        *curves(root / "run"),
        _calibration(result),
    ]
    write_figures(root, demo_figures(result))
    page.write_report(root / "report.html", f"vultus demo on {kind}", sections, subtitle=f"vultus {vultus.__version__}")


def demo_figures(result: DemoResult) -> dict[str, Any]:
    """Everything measured, as plain JSON values."""
    kinds = {"enrolled": True, "strangers": False}
    return {
        "vultus": vultus.__version__,
        "procedural": result.procedural,
        "verification": {name: found.to_dict() for name, found in _named(result).items()},
        "fpir": result.fpir,
        "searches": {
            kind: {"made": len(found), "right": sum(s.right for s in found)}
            for kind, enrolled in kinds.items()
            for found in [[s for s in result.searches if s.enrolled == enrolled]]
        },
        "seconds": result.seconds,
    }


def show_table(result: DemoResult) -> None:
    """The end of the demo: what a person wants to know, and where everything lies."""
    from vultus.terminal import table

    rows = [(name, *_cells(found)) for name, found in _named(result).items()]
    table(
        f"People never trained on: recognised (TAR) when 1 in 100 strangers may pass (FAR {FAR:g})",
        ("", "TAR", "95 % interval", "AUC"),
        rows,
    )
    if result.fpir is not None:
        known = [s for s in result.searches if s.enrolled]
        strangers = [s for s in result.searches if not s.enrolled]
        outcomes = [
            (
                "photographs of enrolled people",
                len(known),
                _count(known, "match", right=True),
                _count(known, "unknown"),
                _wrong(known),
            ),
            ("photographs of strangers", len(strangers), "", _count(strangers, "unknown"), _wrong(strangers)),
        ]
        table(
            f"Searching {len({s.person for s in known})} enrolled people; at most about {result.fpir:.0%} of strangers "
            "may be named",
            ("", "searches", "right name", "unknown", "wrong or ambiguous"),
            outcomes,
        )
    folder = result.folder
    where = [
        ("report with pictures", folder / "report.html"),
        ("model file (ONNX)", folder / "recognizer.onnx"),
        ("gallery of enrolled people", folder / "people.db"),
        ("training run", folder / "run"),
        ("dataset", folder / "data"),
    ]
    table("Where everything lies", ("", ""), [(name, str(path)) for name, path in where if path.exists()])


def _named(result: DemoResult) -> dict[str, Verification]:
    return {"trained network": result.evaluation.verification, **result.others}


def _cells(found: Verification) -> tuple[str, str, str]:
    point = found.point(FAR)
    if point.tar is None or point.tar_interval is None:
        return "withheld", f"needs {point.needs:,} non-mated pairs", f"{found.auc:.3f}"
    low, high = point.tar_interval
    return f"{point.tar:.1%}", f"{low:.1%} to {high:.1%}", f"{found.auc:.3f}"


def _comparison(result: DemoResult) -> list[page.Section]:
    named = _named(result)
    points: list[OperatingPoint] = [found.point(FAR) for found in named.values()]
    return [
        page.Figure(
            figures.bars(
                list(named),
                [point.tar for point in points],
                [point.tar_interval for point in points],
                axis=f"TAR at FAR {FAR:g} on people never trained on",
            ),
            "The trained network beside what knows nothing about faces: principal components of the pixels, the same "
            "network before training, and the mean colour of the crop. Were these good too, the data would be giving "
            "the answer away.",
            title="Was it the face that was learned?",
        ),
        page.Figure(figures.roc(named), "The same at every false accept rate."),
    ]


def _decisions(result: DemoResult) -> list[page.Section]:
    if result.fpir is None:
        return [
            page.Text(
                "Nobody was searched for: the calibration split is too small to support even "
                "the laxest error rate of the demo. More people with two or more photographs would change that.",
                title="Enrolment and identification",
                kind="note",
            )
        ]
    people = FaceDataset.open(result.folder / "data" / "people")
    shown = {
        name: people.encoded([int(np.flatnonzero(people.labels == label)[0])])[0]
        for label, name in enumerate(people.identities)
    }
    groups = (
        ("Enrolled people, searched with other photographs of them", [s for s in result.searches if s.enrolled]),
        ("Strangers, whom the gallery must not name", [s for s in result.searches if not s.enrolled]),
    )
    threshold = result.searches[0].decision.threshold
    sections: list[page.Section] = [
        page.Text(
            "Every second person of the fourth group was enrolled, with three images or fewer each. At most about "
            f"{result.fpir:.0%} of strangers may be given a name; with {threshold.templates} templates enrolled "
            f"that makes the threshold {threshold.score:.3f}. "
            "FPIR is estimated as 1 - (1 - FMR)^templates, which is cautious.",
            title="Enrolment and identification",
        )
    ]
    for title, searches in groups:
        items = [
            page.Decision(
                probe=people.encoded([search.probe])[0],
                probe_name=search.person,
                decision=search.decision.kind.value,
                score=search.decision.score or 0.0,
                threshold=search.decision.threshold.score,
                candidate=shown.get(search.decision.candidates[0].person) if search.decision.candidates else None,
                candidate_name=search.decision.candidates[0].person if search.decision.candidates else "",
                right=search.right,
            )
            for search in searches
        ]
        right = sum(search.right for search in searches)
        sections.append(page.Decisions(items, title=title, note=f"{right} of {len(searches)} right."))
    return sections


def _calibration(result: DemoResult) -> page.Section:
    calibration = result.recognizer.calibration
    assert calibration is not None
    return page.Text(
        "\n\n".join(calibration.describe()[:2])
        + "\n\n"
        + "\n".join(f"- {line}" for line in calibration.describe()[2:]),
        title="Thresholds in the model file",
    )


def _sheet(data: FaceDataset, rows: int = 6, columns: int = 10) -> bytes:
    chosen = []
    for label in np.argsort(-data.counts, kind="stable")[:rows]:
        found = np.flatnonzero(data.labels == label)[:columns]
        chosen += [*data.crops(found), *[np.full((112, 112, 3), 235, np.uint8)] * (columns - len(found))]
    sheet = contact_sheet(chosen, columns)
    return encode_crop(cv2.resize(sheet, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA))


def _count(searches: list[Search], kind: str, right: bool | None = None) -> int:
    return sum(s.decision.kind == kind and right in (None, s.right) for s in searches)


def _wrong(searches: list[Search]) -> int:
    return sum(not s.right and s.decision.kind != "unknown" for s in searches)
