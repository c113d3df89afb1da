"""A calibration in a report: its figures can be drawn, its words say what was and what was not found."""

from __future__ import annotations

import numpy as np

from vultus.evaluation import Calibration
from vultus.evaluation.calibration.achieved import achieved
from vultus.evaluation.figures.calibration import evidence_curves, reliability_diagram, thresholds_by_rate
from vultus.evaluation.report import Table, Text, write_report
from vultus.evaluation.report.calibration import calibration_sections
from vultus.evaluation.scores import explicit_scores


def drawn(seed: int, non_mated: int = 30_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0.6, 0.1, 400).clip(-1, 1), rng.normal(0, 0.1, non_mated).clip(-1, 1)


def calibrated(mated: np.ndarray, non_mated: np.ndarray) -> Calibration:
    scores = np.concatenate([mated, non_mated])
    return Calibration.fit(scores, np.arange(len(scores)) < len(mated), source="draws", contract_id="x")


def test_figures_of_poor_and_perfect_data(monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    for data in (drawn(0, 120), (np.full(30, 0.9), np.full(200, 0.1))):
        found = calibrated(*data)
        own = found.likelihood
        for png in (thresholds_by_rate(found), evidence_curves(own), reliability_diagram(own.reliability, title="x")):
            assert png.startswith(b"\x89PNG")


def test_a_report_says_what_was_promised_kept_and_extrapolated(tmp_path, monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    found = calibrated(*drawn(0))
    other = explicit_scores(*drawn(1))
    sections = calibration_sections(found, achieved(found, other, identities=100, images=300))
    kept, promised = (section for section in sections if isinstance(section, Table))
    assert [row[0] for row in kept.rows] == ["0.1", "0.01", "0.001"]
    assert {row[-1] for row in kept.rows} == {"yes"}
    assert str(promised.rows[-1][0]).endswith("extrapolated")
    html = write_report(tmp_path / "r.html", "Calibration", sections).read_text()
    assert "generalised Pareto" in html and "Cllr" in html


def test_a_promise_that_is_broken_says_on_which_side(monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    found = calibrated(*drawn(0))
    mated, non_mated = drawn(1)
    for shift, word in ((0.05, "HIGHER"), (-0.05, "lower")):
        other = explicit_scores(mated, non_mated + shift)
        table = calibration_sections(found, achieved(found, other, identities=100, images=300))[1]
        assert isinstance(table, Table) and {row[-1] for row in table.rows} == {word}


def test_what_could_not_be_extrapolated_is_said(monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    words = calibration_sections(calibrated(*drawn(0, 500)))[0]
    assert isinstance(words, Text)
    assert "Nothing is extrapolated" in words.body
