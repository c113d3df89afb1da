"""Figures and words of 1:N identification, whatever the numbers."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from vultus.evaluation.figures.identification import cmc, fpir_by_gallery, identification_det
from vultus.evaluation.protocols.fpir_growth import fpir_growth
from vultus.evaluation.protocols.galleries import Draw
from vultus.evaluation.protocols.identification import identify
from vultus.evaluation.protocols.open_set import open_set
from vultus.evaluation.protocols.searches import Fuse
from vultus.evaluation.report import Figure, Table, Text, write_report
from vultus.evaluation.report.identification import growth_sections, identification_sections, summary


def people(identities: int, images: int, noise: float):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(identities), images)
    rows = rng.normal(size=(identities, 16))[labels] + noise * rng.normal(size=(len(labels), 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 60)


def is_png(image: bytes) -> bool:
    width, height = struct.unpack(">II", image[16:24])
    return image[:8] == b"\x89PNG\r\n\x1a\n" and width > 400 and height > 200


def everything(sections) -> str:
    words = [section.body for section in sections if isinstance(section, Text)]
    words += [section.caption for section in sections if isinstance(section, Figure)]
    for table in (section for section in sections if isinstance(section, Table)):
        assert all(len(row) == len(table.columns) for row in table.rows)
        words += [table.note, *(str(cell) for row in table.rows for cell in row)]
    return "\n".join(words)


def test_a_report_says_what_happens_to_strangers_and_to_enrolled_people(tmp_path):
    embeddings, labels = people(120, 4, 0.5)
    missing = np.array([3, 3, 77])
    found = open_set(
        embeddings, labels, (20, 40), missing=missing, fpirs=(0.1, 0.05, 0.001), galleries=4, resamples=200
    )
    growth = fpir_growth(embeddings, labels, (1, 10, 50), fmrs=(1e-2, 1e-6), galleries=4)
    sections = identification_sections(found, growth)
    words = everything(sections)
    point = found.sizes[-1].point(0.05)
    assert point.tpir is not None
    assert "of 100 strangers, about 5 would be given a name" in words
    assert f"about {1000 * point.tpir:,.0f} would name the right person" in words
    assert "0.001 would need 10,000 searches of strangers, and a gallery had 320" in words
    assert "no face was found" in words
    assert "A FAR of 1e-6 is withheld: it would need 10,000,000 comparisons" in words
    assert "galleries of 20 and 40 people were drawn from 120, 4 of each size" in words
    assert all(is_png(section.image) for section in sections if isinstance(section, Figure))
    assert sum(isinstance(section, Figure) for section in sections) == 3
    assert write_report(tmp_path / "report.html", "Searches", sections).stat().st_size > 10_000


def test_one_given_gallery_without_any_error_can_be_shown():
    # Two people on two axes, a stranger on the third: nothing goes wrong, and nothing is supported by one search.
    axes, labels = np.eye(3, dtype=np.float32), np.array([0, 1, 2])
    found = identify(axes[:2], labels[:2], axes, labels)
    sections = identification_sections(found)
    assert all(is_png(section.image) for section in sections if isinstance(section, Figure))
    assert "were drawn from" not in summary(found)
    assert "withheld" in everything(sections)


def test_figures_of_perfect_and_of_hopeless_recognisers():
    for noise in (0.01, 50.0):
        embeddings, labels = people(60, 3, noise)
        found = open_set(embeddings, labels, (1, 10, 30), fpirs=(0.2,), galleries=3, resamples=50)
        for draw in (identification_det, cmc):
            assert is_png(draw(found.sizes, title="Searches"))
        assert is_png(fpir_by_gallery(fpir_growth(embeddings, labels, fmrs=(0.1, 1e-2, 1e-9), galleries=3)))


def test_several_templates_are_named_in_words():
    embeddings, labels = people(40, 6, 0.5)
    draw = Draw(enrol=3)
    cases: tuple[tuple[Fuse, str], ...] = (("max", "compared one by one"), ("mean", "joined to one template"))
    for fuse, words in cases:
        found = open_set(
            embeddings, labels, (10,), draw=draw, fuse=fuse, fpirs=(0.2,), galleries=2, resamples=0, rank=2
        )
        assert f"3 images of each person enrolled, {words}" in summary(found)
        assert "among the first 2" in summary(found)
    growth = fpir_growth(embeddings, labels, (10,), fmrs=(1e-2,), enrol=3, images_each=6, galleries=2)
    assert "3 templates a person" in everything(growth_sections(growth))


def test_growth_without_any_supported_rate_is_words_alone():
    embeddings, labels = people(10, 1, 0.5)
    sections = growth_sections(fpir_growth(embeddings, labels, fmrs=(1e-3,), galleries=2))
    assert len(sections) == 1
    assert "withheld" in everything(sections)
