"""A report is one file, fetches nothing, and shows names as they are."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from vultus.evaluation import (
    Decision,
    Decisions,
    Facts,
    Figure,
    Gallery,
    Pair,
    PairGallery,
    Table,
    Text,
    percent,
    verification_sections,
    verify_all_pairs,
    verify_scores,
    write_report,
)
from vultus.evaluation.report.verification import operating_note, summary, worst_pairs

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NASTY = "<script>alert('x')</script> \"& http://evil"


def everything():
    return [
        Text(f"first {NASTY}\n\nsecond\n\n- one\n- two", title=NASTY),
        Text("take care", kind="note"),
        Facts([("99%", NASTY, "")], title="Facts"),
        Table(["a", NASTY], [[NASTY, None], [1, 2.5]], note=NASTY),
        Figure(PNG, NASTY, title="Figure"),
        Gallery([(PNG, NASTY)]),
        PairGallery([Pair(PNG, None, NASTY, NASTY, 0.5)], title="Pairs", note=NASTY),
        Decisions(
            [
                Decision(PNG, NASTY, "match", 0.7, 0.4, PNG, NASTY, True),
                Decision(PNG, "stranger", "unknown", -0.2, 0.4),
                Decision(None, "x", "ambiguous", 0.5, 0.4, PNG, "y", False),
            ]
        ),
    ]


def test_self_contained_and_escaped(tmp_path):
    path = write_report(tmp_path / "deep" / "report.html", NASTY, everything(), subtitle=NASTY, footer=NASTY)
    html = path.read_text(encoding="utf-8")
    links = re.findall(r"""(?:src|href|action|data)\s*=\s*["']?([^"'\s>]+)""", html)
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#s")) for link in links)
    assert "@import" not in html
    assert "url(" not in html
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 12
    assert base64.b64encode(PNG).decode() in html
    assert "<li>one</li><li>two</li>" in html
    assert re.search(r"match.*unknown.*ambiguous", html, re.S)
    assert "wrong" in html
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_failed_report_leaves_nothing_behind(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("the old one")
    with pytest.raises(ValueError, match="PNG, JPEG"):
        write_report(path, "t", [Figure(b"not an image")])
    assert path.read_text() == "the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_standard_sections_hold_table_figures_and_worst_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 120)
    rows = rng.normal(size=(12, 16))[labels] + rng.normal(size=(120, 16))
    found = verify_all_pairs((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels)
    sections = verification_sections(found, "Unseen")
    sections += worst_pairs(found, lambda i: PNG if i % 2 else None, lambda i: f"person {labels[i]}")
    html = write_report(tmp_path / "r.html", "Evaluation", sections).read_text(encoding="utf-8")
    assert "needs 10,000,000 pairs" in html
    assert f"{found.points[0].threshold:.4f}" in html
    assert html.count("data:image/png") >= 4
    galleries = [section for section in sections if isinstance(section, PairGallery)]
    assert [gallery.title for gallery in galleries] == ["Worst false matches", "Worst false non-matches"]
    false_match = galleries[0].pairs[0]
    assert false_match.left_name != false_match.right_name
    assert galleries[1].pairs[0].left_name == galleries[1].pairs[0].right_name


def test_the_summary_speaks_plainly():
    found = verify_scores(np.full(50, 0.9), np.linspace(-1, 0, 2000), mated_failures=50, fars=(1e-2, 1e-3))
    text = summary(found)
    assert "one in 100 comparisons of different people" in text
    assert "50.0% of the comparisons of the same person" in text
    assert "In 50 comparisons no face was found" in text
    assert "0.001 would need 10,000 comparisons" in text


def test_no_errors_are_told_with_what_they_leave_open():
    # All of 300 mated scores lie above all others: 1 - 0.05^(1/300) = 0.99 %.
    found = verify_scores(np.full(300, 0.9), np.linspace(-0.5, 0.5, 2000), (0.1, 0.01, 1e-6))
    note = operating_note(found)
    assert "No false non-match at FAR 0.1, 0.01: no errors leave a true FNMR of up to 0.99% open (rule of three" in note
    assert "with the 300 independent comparisons" in note
    assert "No false match " not in note  # there are 200 and 20
    # Ties: the smallest threshold that keeps to 1 % lies above 100 equal scores, and lets nobody in.
    tied = verify_scores(np.full(300, 0.9), np.repeat([0.0, 0.5], [1900, 100]), (0.01,))
    assert "No false match at FAR 0.01: no errors leave a true FMR of up to 0.15% open" in operating_note(tied)


def test_percent_never_rounds_to_certainty():
    assert percent(0.5) == "50.0%"
    assert percent(1.0) == "100.0%"
    assert percent(0.99996) == "99.996%"
    assert percent(0.0001) == "0.01%"
    assert percent(0.0) == "0.0%"
