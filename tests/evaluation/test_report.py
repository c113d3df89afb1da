"""A report is one file, fetches nothing, and shows names as they are."""

from __future__ import annotations

import base64
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from vultus.evaluation.figures.style import apart
from vultus.evaluation.protocols.open_set import open_set
from vultus.evaluation.report.identification import identification_sections
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
    assert "No false non-match at FAR 0.1, 0.01: no errors leave a true 1 - TAR of up to 0.99% open (" in note
    assert "with the 300 independent comparisons" in note
    assert "No false match " not in note  # there are 200 and 20
    # Ties: the smallest threshold that keeps to 1 % lies above 100 equal scores, and lets nobody in.
    tied = verify_scores(np.full(300, 0.9), np.repeat([0.0, 0.5], [1900, 100]), (0.01,))
    assert "No false match at FAR 0.01: no errors leave a true FAR of up to 0.15% open" in operating_note(tied)


def test_percent_never_rounds_to_certainty():
    assert percent(0.5) == "50.0%"
    assert percent(1.0) == "100.0%"
    assert percent(0.99996) == "99.996%"
    assert percent(0.0001) == "0.01%"
    assert percent(0.0) == "0.0%"


def test_nobody_is_more_than_twice_among_the_worst_pairs(tmp_path):
    # Person 0 has the wrong photograph: of the most alike pairs of different people nearly all are theirs.
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 4)
    rows = rng.normal(size=(30, 16))[labels] + rng.normal(size=(120, 16))
    rows[labels == 0] = rows.mean(axis=0) + 3 * rows[labels == 1][:1]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    found = verify_all_pairs(rows, labels)
    for section, kept in zip(worst_pairs(found, None, str, people=labels), range(2), strict=True):
        shown = Counter(
            who for pair in section.pairs for who in {labels[int(n)] for n in (pair.left_name, pair.right_name)}
        )
        assert max(shown.values()) <= 2, kept
        assert len(section.pairs) == 12
    without = worst_pairs(found, None, str)[0].pairs
    assert sum(0 in {labels[int(p.left_name)], labels[int(p.right_name)]} for p in without) > 2
    # A name is never broken, and a table that is too wide for a phone names the column of each cell.
    html = write_report(
        tmp_path / "r.html", "t", worst_pairs(found, None, lambda i: f"folder/{i} x.jpg", people=labels)
    )
    assert ".name {" in html.read_text() and "white-space: nowrap" in html.read_text().split(".name {")[1].split("}")[0]
    page = write_report(tmp_path / "t.html", "t", [Table(["FAR", "TAR"], [["0.1", "99 %"]])]).read_text()
    assert '<td data-of="TAR">99 %</td>' in page and "content: attr(data-of)" in page


def test_what_the_data_cannot_show_is_a_sentence_and_no_chart():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 2)  # 24 non-mated pairs: not even FAR 0.1
    rows = rng.normal(size=(8, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    sections = verification_sections(verify_all_pairs(rows, labels))
    assert [section.title for section in sections if isinstance(section, Figure)] == ["Scores", ""]
    assert isinstance(sections[-1], Text) and "needs 100" in sections[-1].body
    searched = identification_sections(open_set(rows, labels, [2]))
    assert not any(isinstance(section, Table) and not section.rows for section in searched)
    assert "Misses over false alarms (DET)" not in {section.title for section in searched}


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.01, 0.3))
def test_captions_stand_apart_in_the_order_of_what_they_name(places, gap):
    found = apart(places, gap)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(found)[order]) >= gap - 1e-9).all()
    if len(places) == 1:
        assert found == places
