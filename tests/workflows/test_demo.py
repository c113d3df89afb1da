"""The demo, small: every stage runs and shows its result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vultus.workflows import demo


def test_the_demo_ends_with_a_report_and_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "IDENTITIES", 60)
    monkeypatch.setattr(demo, "IMAGES", 6)
    monkeypatch.setattr(demo, "SHARES", {"train": 0.4, "val": 0.1, "calibration": 0.2, "test": 0.2, "people": 0.1})
    result = demo.run_demo(tmp_path / "demo", minutes=0.1, photos=None, seed=0)
    assert {"report.html", "recognizer.onnx", "people.db", "run", "data"} <= {
        path.name for path in (tmp_path / "demo").iterdir()
    }
    searched = {search.person for search in result.searches}
    assert len(searched) == 6 and {search.enrolled for search in result.searches} == {True, False}
    assert len(result.searches) == 12  # two probes a person
    measured = result.recognizer.card.provenance["measured"]
    assert measured["data"].startswith("data/test") and measured["points"]  # the card carries what was measured
    figures = json.loads((tmp_path / "demo" / "figures.json").read_text())
    assert figures["searches"]["enrolled"]["made"] + figures["searches"]["strangers"]["made"] == 12
    html = (tmp_path / "demo" / "report.html").read_text()
    assert "They are no people" in html and html.count("data:image/") > 20
    for search in result.searches:
        assert search.person in html
    out = capsys.readouterr().out
    assert "mean colour of the crop" in out and "report.html" in out
