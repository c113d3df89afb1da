"""The part of a report on pictures: what quality scores are worth, and where the errors are."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.evaluation.breakdown.conditions import Breakdown
from vultus.evaluation.breakdown.discard import Discard
from vultus.evaluation.figures.groups import share
from vultus.evaluation.figures.quality import bin_names, condition_dots, edc_curves
from vultus.evaluation.intervals import Rate
from vultus.evaluation.report.page import Cell, Figure, Section, Table, Text


def discard_sections(discards: Sequence[Discard], title: str = "What quality scores are worth") -> list[Section]:
    """Error-versus-discard curves and their partial areas."""
    ranked = sorted(discards, key=lambda d: -(d.areas[-1].gain or 0))
    uptos = [area.upto for area in ranked[0].areas]
    return [
        Text(
            "If pictures could be refused, which should go? For each score the comparisons with the worst pictures are "
            "discarded, the threshold stays, and 1 - TAR is read of what is kept. A comparison is as good as the worse "
            "of its two pictures. A score that tells hard pictures from easy ones makes the line fall.",
            title=title,
        ),
        Figure(
            edc_curves(ranked),
            "Above: share of comparisons of the same person that fail, over the share that was discarded. The band is "
            "the 95 % interval of the best score. “At random” is what discarding blindly gives, “ideal” what "
            "discarding exactly the errors gives. Below: how often different people match among the pictures that are "
            "kept; a score that lowers 1 - TAR and raises FAR has only moved the threshold.",
        ),
        Table(
            ("score", *(f"gain up to {upto:.0%}" for upto in uptos), "1 - TAR without the worst 20%", "95 % interval"),
            [_row(one) for one in ranked],
            note=f"1 - TAR of all is {_rate(ranked[0].fnmr[0])}. {GAIN}",
        ),
    ]


GAIN = (
    "Gain: how far the area under the line lies between random (0 %) and ideal (100 %); below 0 % the score is worse "
    "than none. Differences smaller than the band are no evidence."
)


def _row(one: Discard) -> list[Cell]:
    gains: list[Cell] = [None if area.gain is None else f"{area.gain:.0%}" for area in one.areas]
    rate = one.fnmr[int((one.allowed <= 0.2 + 1e-9).sum()) - 1]
    return [one.name, *gains, share(rate.value), _between(rate)]


def _rate(rate: Rate) -> str:
    return f"{share(rate.value)} ({_between(rate)})"


def _between(rate: Rate) -> str:
    return " to ".join(share(end) for end in rate.interval)


def condition_sections(breakdowns: Sequence[Breakdown], title: str = "Where the errors are") -> list[Section]:
    """1 - TAR by pose, size, sharpness and whatever else was measured."""
    rows: list[list[Cell]] = []
    for one in breakdowns:
        for name, part in zip(bin_names(one.bins, " to "), one.bins, strict=True):
            rate = part.fnmr.rate
            value = "withheld" if part.fnmr.value is None else share(part.fnmr.value)
            label = f"{one.title}, {name} {one.unit}".strip()
            rows.append([label, value, _between(rate), f"{rate.errors:,}", f"{rate.trials:,}"])
        if one.unknown is not None:
            rate = one.unknown.rate
            rows.append([f"{one.title}, unknown", None, None, f"{rate.errors:,}", f"{rate.trials:,}"])
    lost = max((one.no_face for one in breakdowns), default=0)
    return [
        Text(
            "Comparisons of the same person, sorted by the worse of the two pictures into parts of equal number. The "
            "threshold is the same everywhere. Look for parts whose interval does not reach the dashed line, the rate "
            "of all: there the pictures matter."
            + (f" In {lost:,} further comparisons no face was found; they fail and belong to no part." if lost else ""),
            title=title,
        ),
        Figure(
            condition_dots(breakdowns),
            "1 - TAR with its 95 % interval; the hardest part is on the left. Angles: estimates from five landmarks.",
        ),
        Table(
            ("pictures", "1 - TAR", "95 % interval", "errors", "comparisons"),
            rows,
            note=(
                "Withheld: fewer than 10 errors are expected, or a few people with very many images make most of the "
                "comparisons. Conditions go together (a small face is also blurred): a part shows where errors are, "
                "not what causes them."
            ),
        ),
    ]
