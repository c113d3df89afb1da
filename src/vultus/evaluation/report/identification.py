"""Searches in a gallery as part of a report: in words, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.evaluation.figures.identification import cmc, fpir_by_gallery, identification_det
from vultus.evaluation.figures.style import rate_text
from vultus.evaluation.intervals import Interval
from vultus.evaluation.protocols.fpir_growth import Growth, GrowthSeries
from vultus.evaluation.protocols.identification import Identification, IdentificationPoint
from vultus.evaluation.protocols.open_set import OpenSet
from vultus.evaluation.report import Cell, Facts, Figure, Section, Table, Text, percent

RANKS = (5, 10, 50)
"""In the table beside rank 1."""


def identification_sections(
    measured: OpenSet | Identification, growth: Growth | None = None, title: str = "Searches in a gallery"
) -> list[Section]:
    """Open set (words, TPIR at FPIR, DET), closed set (CMC), and how FPIR grows with the gallery where measured."""
    sizes = measured.sizes if isinstance(measured, OpenSet) else (measured,)
    largest = sizes[-1]
    supported = {point.fpir for size in sizes for point in size.points if point.tpir is not None}
    sections: list[Section] = [
        Text(summary(measured), title=title),
        Facts([*(_fact(point) for point in largest.points if point.tpir is not None), _rank_fact(largest)][-4:]),
    ]
    at_rates: list[Section] = [
        Table(
            ["enrolled", "FPIR", "threshold", "TPIR", "95 %", "single galleries", "FPIR, 95 %"],
            [_row(size, point) for size in sizes for point in size.points if point.fpir in supported],
            title="Found, at a given rate of false alarms",
            note=_point_note(sizes),
        ),
        Figure(
            identification_det(sizes),
            "Each line is a size of the gallery. Down and to the left is better; further left the threshold is "
            "stricter: fewer strangers are given a name, and more enrolled people are missed. The band is the 95 % "
            "interval of the largest gallery; where fewer than 10 false alarms are behind a line it is pale.",
            title="Misses over false alarms (DET)",
        ),
    ]
    if not supported:
        at_rates = [
            Text(
                "No rate of false alarms is supported, so there is no table and no chart of what is found at one: see "
                "above what the highest would need."
            )
        ]
    sections += [
        *at_rates,
        Figure(
            cmc(sizes),
            "Without a threshold and without strangers: how often the right person is among the first k of the list "
            "(CMC), which is what somebody who goes through a list of candidates meets. The band is the 95 % interval "
            "of the largest gallery.",
            title="Place of the right person in the list",
        ),
        Table(
            ["enrolled", "searches", "people", "rank 1", "95 %", *(f"rank {k}" for k in RANKS)],
            [_rank_row(size) for size in sizes],
            note="Share of the searches for enrolled people with the right person among the first k. "
            "If another person scores the same, that person counts as the one before.",
        ),
    ]
    if growth is not None:
        sections += growth_sections(growth)
    return sections


def growth_sections(growth: Growth, title: str = "False alarms by size of the gallery") -> list[Section]:
    """How FPIR grows with N, beside 1 - (1 - FAR)^N."""
    shown = [series for series in growth.series if series.points]
    withheld = [series for series in growth.series if series.needs]
    text = (
        "A stranger who is compared with everybody in a gallery has as many chances of a false match as people are in "
        "it. If all these comparisons were independent, the false positive identification rate would be "
        f"1 - (1 - FAR)^n for n comparisons. Here thresholds stay where {growth.pairs:,} comparisons of two images "
        f"set them, and the galleries grow: {growth.galleries} of each size, searched for {growth.searches:,} images "
        "of people who are not in them."
    )
    if shown:
        text += "\n\n" + "\n".join(f"- {_growth_line(series)}" for series in shown)
    for series in withheld[:1]:
        text += (
            f"\n\nA FAR of {rate_text(series.fmr)} is withheld: it would need {series.needs:,} comparisons of "
            "different people."
        )
    sections: list[Section] = [Text(text, title=title)]
    if not shown:
        return sections
    rows: list[list[Cell]] = []
    for place, point in enumerate(shown[0].points):
        cells = [series.points[place] for series in shown]
        rows.append(
            [f"{point.people:,}", *(cell for p in cells for cell in (_measured(p.fpir), _measured(p.predicted)))]
        )
    columns = [text for s in shown for text in (f"FAR {rate_text(s.fmr)}", "predicted")]
    sections += [
        Figure(
            fpir_by_gallery(growth),
            "Where the dots lie on the dashed lines, comparisons are as good as independent. Where they lie below, the "
            "false matches pile up on a few strangers, and the prediction is on the safe side. The band is the range "
            "of single galleries.",
        ),
        Table(
            ["enrolled", *columns],
            rows,
            note="FPIR as measured, and as 1 - (1 - FAR)^n predicts it. "
            + ("One template a person." if growth.enrol == 1 else _several(growth.enrol)),
        ),
    ]
    return sections


def summary(measured: OpenSet | Identification) -> str:
    """What was searched and what came of it, for somebody who does not know the terms."""
    sizes = measured.sizes if isinstance(measured, OpenSet) else (measured,)
    largest = sizes[-1]
    text = (
        "A search compares one face with everybody who is enrolled and returns those who score above a threshold. Two "
        "things can go wrong: a stranger is given somebody's name (false positive identification, FPIR), or an "
        "enrolled person is not found (false negative identification, FNIR; TPIR is the share that is found). The "
        "more people are enrolled, the more easily somebody among them resembles a stranger."
    )
    if isinstance(measured, OpenSet):
        text += (
            f"\n\nHere galleries of {_listed([size.people for size in sizes])} people were drawn from "
            f"{measured.identities:,}, {largest.galleries} of each size, with {_templates(measured)}. Other images of "
            "theirs, and images of people who are in none of the galleries, were searched."
        )
    known = [point for point in largest.points if point.tpir is not None and point.fpir_rate is not None]
    if known:
        text += f"\n\n{_outcome(largest, known[-1])}"
    for point in [p for p in largest.points if p.needs][:1]:
        text += (
            f" Rates of {rate_text(point.fpir)} and below are withheld: {rate_text(point.fpir)} would need "
            f"{point.needs:,} searches of strangers, and a gallery had "
            f"{largest.non_mated // largest.galleries:,}."
        )
    if largest.mated_failures or largest.non_mated_failures:
        text += (
            f"\n\nIn {largest.mated_failures:,} of the {largest.mated:,} searches for people in the largest galleries "
            f"no face was found: they count as not found. {largest.non_mated_failures:,} photographs of strangers "
            "without a face are left out, so that they do not pass for correct rejections."
        )
    return text


def _outcome(size: Identification, point: IdentificationPoint) -> str:
    """What happens to strangers and to enrolled people at one operating point."""
    assert point.fpir_rate is not None
    assert point.tpir is not None
    assert point.misidentified is not None
    where = "" if point.rank == 1 else f" among the first {point.rank}"
    wrong = 1000 * point.misidentified / size.mated
    others = "nobody" if point.misidentified == 0 else "fewer than one" if wrong < 1 else f"about {wrong:,.0f}"
    return (
        f"With {size.people:,} people enrolled and a threshold of {point.threshold:.3f}, of "
        f"{_of(point.fpir_rate.value)} would be given a name. Of 1,000 searches for people who are enrolled, about "
        f"{1000 * point.tpir:,.0f} would name the right person{where}, and {others} would name somebody else first."
    )


def _of(rate: float) -> str:
    """ "1,000 strangers, about 3": the smallest round number of strangers of whom at least one is meant."""
    strangers = 100
    while rate > 0 and rate * strangers < 1 and strangers < 10**9:
        strangers *= 10
    if 0 < rate * strangers < 3:
        strangers *= 10
    return f"{strangers:,} strangers, about {rate * strangers:,.0f}"


def _templates(measured: OpenSet) -> str:
    if measured.draw.enrol == 1:
        return "one image of each person enrolled"
    how = "compared one by one" if measured.fuse == "max" else "joined to one template"
    return f"{measured.draw.enrol} images of each person enrolled, {how}"


def _listed(numbers: Sequence[int]) -> str:
    texts = [f"{number:,}" for number in numbers]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _between(interval: Interval | None, digits: int = 1) -> str | None:
    if interval is None or not np.isfinite(interval).all():
        return None
    return f"{percent(interval[0], digits)} to {percent(interval[1], digits)}"


def _fact(point: IdentificationPoint) -> tuple[str, str, str]:
    words = f"found among {point.gallery:,} (TPIR at FPIR {rate_text(point.fpir)})"
    return percent(point.tpir or 0), words, _between(point.tpir_interval) or ""


def _rank_fact(size: Identification) -> tuple[str, str, str]:
    low, high = size.cmc_interval[0]
    return percent(size.rank_one), f"first of {size.people:,} (rank 1)", _between((float(low), float(high))) or ""


def _row(size: Identification, point: IdentificationPoint) -> list[Cell]:
    start: list[Cell] = [f"{size.people:,}", rate_text(point.fpir)]
    if point.tpir is None or point.fpir_rate is None or point.fnir_spread is None:
        return [*start, None, f"needs {point.needs:,} searches", None, None, None]
    low, high = point.fnir_spread
    alarms = point.fpir_rate.interval
    return [
        *start,
        f"{point.threshold:.4f}",
        percent(point.tpir),
        _between(point.tpir_interval),
        _between((1 - high, 1 - low)) if size.galleries > 1 else None,
        f"{alarms[0]:.2g} to {alarms[1]:.2g}",
    ]


def _point_note(sizes: Sequence[Identification]) -> str:
    first = sizes[0]
    text = (
        "FPIR: share of the searches of strangers that return somebody. TPIR: share of the searches for enrolled "
        f"people that return the right one {'first' if first.rank == 1 else f'among the first {first.rank}'} and above "
        "the threshold, which is the smallest that keeps to the FPIR. The interval of TPIR respects that searches "
        "share people, and includes that other strangers would have set another threshold. "
    )
    if first.galleries > 1:
        text += (
            f"Errors of {first.galleries} galleries of a size are counted together; single galleries: the lowest and "
            "the highest TPIR of one. "
        )
    return text + "A row is withheld where a gallery would see fewer than 10 false alarms."


def _rank_row(size: Identification) -> list[Cell]:
    row: list[Cell] = [f"{size.people:,}", f"{size.mated:,}", f"{size.mated_people:,}"]
    low, high = size.cmc_interval[0]
    row += [percent(size.rank_one), _between((float(low), float(high)))]
    return [*row, *(percent(float(size.cmc[k - 1])) if k <= len(size.cmc) else None for k in RANKS)]


def _growth_line(series: GrowthSeries) -> str:
    last = series.points[-1]
    return (
        f"Threshold {series.threshold:.3f} (FAR {rate_text(series.fmr)}), {last.people:,} enrolled: of "
        f"{_of(last.fpir)} are given a name ({percent(last.fpir)}); predicted {percent(last.predicted)}."
    )


def _measured(rate: float) -> str:
    return percent(rate, 1 if rate >= 0.1 else 2)


def _several(enrol: int) -> str:
    return (
        f"{enrol} templates a person, each counted as one comparison: they agree with one another more than those of "
        "different people do, so that the prediction is too high."
    )
