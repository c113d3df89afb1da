"""The part of a report on groups: who is taken for another and who is not recognised, at one threshold."""

from __future__ import annotations

from math import isinf

from vultus.evaluation.breakdown.cell import MINIMUM_PEOPLE
from vultus.evaluation.breakdown.cell import Cell as Part
from vultus.evaluation.breakdown.groups import GroupRates, Ratio
from vultus.evaluation.figures.groups import group_dots, group_matrix, share
from vultus.evaluation.report.page import Cell, Figure, Section, Table, Text

COLUMNS = ("group", "people", "images", "own FAR", "95 % interval", "1 - TAR", "95 % interval")


def group_sections(rates: GroupRates, title: str = "") -> list[Section]:
    """Words, table, dots, matrix, ratios, and what group figures can and cannot show."""
    names = rates.names
    sections: list[Section] = [
        Text(_opening(rates), title=title or f"Groups: {rates.column}"),
        Table(COLUMNS, group_rows(rates), note=_note(rates)),
        Figure(
            group_dots(rates),
            "Each group with its 95 % interval; the dashed line is the rate of all. Left: how often two different "
            "people of one group match. Right: how often a person of the group is not recognised. Intervals that "
            "overlap much say that the data show no difference. Dotted, without a mark: too few comparisons or people "
            "for a rate.",
        ),
        Table(
            ("", "worst", "best", "ratio", "95 % interval", "alike groups show up to"),
            [_ratio_row("own FAR", rates.fmr_ratio), _ratio_row("1 - TAR", rates.fnmr_ratio)],
            title="Worst to best",
            note=_ratio_note(rates),
        ),
        Figure(
            group_matrix(rates),
            "FAR of two different people, one of the group of the row, one of the group of the column; the framed "
            "diagonal is a group with itself. The shade tells how far a cell is from the rate of all: each step is a "
            "factor of two. Hatched: withheld.",
            title="Who is taken for whom",
        ),
    ]
    across = [
        [f"{names[a]} and {names[b]}", *_cells(rates.fnmr[a][b])]
        for a in range(len(names))
        for b in range(a)
        if rates.fnmr[a][b].rate.trials
    ]
    if across:
        note = "Both images are of one person, taken under two different conditions."
        sections.append(
            Table(("images of", "1 - TAR", "95 % interval"), across, title="Not recognised across", note=note)
        )
    sections.append(Text(LIMITS, kind="note"))
    return sections


LIMITS = (
    "What such figures can show: whether one threshold treats groups alike on this data. What they cannot: why. A "
    "group's photographs may be older, darker or smaller, its people more closely related, or its labels less sure, "
    "and a difference may be that of the photographs. Labels such as sex, age or origin are somebody's judgement "
    "about people; errors in them hide differences and make others. A small ratio here is no certificate of fairness: "
    "the data may lack the people whom it would concern. Do not use group labels to choose another threshold for a "
    "person, and do not infer them from faces."
)


def group_rows(rates: GroupRates) -> list[list[Cell]]:
    """Cells of `COLUMNS`, "all" last; for a terminal's table as well."""
    rows: list[list[Cell]] = [
        [name, f"{rates.identities[k]:,}", f"{rates.images[k]:,}", *_cells(rates.fmr[k][k]), *_cells(rates.fnmr[k][k])]
        for k, name in enumerate(rates.names)
    ]
    people = None if rates.by_image else f"{sum(rates.identities):,}"
    return [*rows, ["all", people, f"{sum(rates.images):,}", *_cells(rates.all_fmr), *_cells(rates.all_fnmr)]]


def _cells(part: Part) -> list[Cell]:
    """(rate, interval)."""
    if not part.rate.trials:
        return ["no comparison", None]
    between = " to ".join(share(end) for end in part.rate.interval)
    return [share(part.value), between] if part.value is not None else [f"withheld: {_lacks(part)}", between]


def _lacks(part: Part) -> str:
    """What a withheld rate would need."""
    if part.needs is not None:
        return f"{part.needs:,} pairs, has {part.rate.trials:,}"
    if part.people < MINIMUM_PEOPLE - 1e-9:
        return f"{MINIMUM_PEOPLE} people, worth {part.people:.1f}"
    return f"about {part.needs_people:,} people"


def _opening(rates: GroupRates) -> str:
    what = "image" if rates.by_image else "person"
    text = (
        f"All comparisons at one threshold, {rates.threshold:.3f}, whose FAR over everybody is "
        f"{share(rates.all_fmr.rate.value)}. The column “{rates.column}” puts each {what} into one of "
        f"{len(rates.names)} groups. A comparison of different people belongs to the groups of both; a group's own FAR "
        "counts those of two of its people, usually harder to tell apart than people of different groups."
    )
    if "unknown" in rates.names:
        text += " Who has no value is the group “unknown”; nobody is left out."
    if rates.filled:
        text += f" {rates.filled:,} images without a value took that of their person's other images."
    return text


def _note(rates: GroupRates) -> str:
    text = (
        "FAR: share of comparisons of different people that match. 1 - TAR: share of those of the same person that do "
        "not. Intervals respect that comparisons share people. A rate is withheld where fewer than 10 errors would "
        "be "
        f"expected at the rate of all, or where its comparisons are worth fewer than {MINIMUM_PEOPLE} people."
    )
    parts = [rates.fnmr[k][k] for k in range(len(rates.names))]
    if any(part.needs is None and not part.is_supported for part in parts):
        text += (
            " Worth few people: a few with very many images make most of the comparisons; take at most ten images of "
            "each person."
        )
    return text


def _ratio_row(name: str, ratio: Ratio) -> list[Cell]:
    if ratio.interval is None or ratio.chance is None:
        return [name, None, None, "withheld", None, None]
    low, high = (times(end) for end in ratio.interval)
    value = "withheld" if ratio.value is None else times(ratio.value)
    return [name, ratio.worst, ratio.best, value, f"{low} to {high}", times(ratio.chance)]


def times(ratio: float) -> str:
    """1.4 times; "any" where there is no bound."""
    return "any" if isinf(ratio) else f"{ratio:.2g} times" if ratio < 10 else f"{ratio:,.0f} times"


def _ratio_note(rates: GroupRates) -> str:
    text = (
        "The worst of several groups is always worse than the best, even if all are alike. The last column says how "
        "large a ratio 95 % of data sets of this size stay below when they are: only a larger one shows a difference. "
    )
    for name, ratio in (("FAR", rates.fmr_ratio), ("1 - TAR", rates.fnmr_ratio)):
        if ratio.chance is None:
            text += f"{name}: fewer than two groups are large enough, or nobody errs. "
        elif isinf(ratio.chance):
            text += f"{name}: so few independent errors are expected that alike groups may show any ratio; withheld. "
        elif ratio.value is None:
            text += f"{name}: the best group has no error, so only the lower bound of the ratio is known. "
        elif ratio.shows_a_difference:
            text += f"{name}: the groups differ by more than chance shows. "
        else:
            text += f"{name}: these data show no difference between the groups. "
        if ratio.left_out and ratio.chance is not None:
            text += f"Left out of it as too small: {', '.join(ratio.left_out)}. "
    return text.strip()
