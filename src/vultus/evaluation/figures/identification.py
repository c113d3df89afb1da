"""Pictures of 1:N identification: DET by gallery size, CMC, and FPIR over the size of the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import TYPE_CHECKING

import numpy as np

from vultus.evaluation.figures.style import (
    INK,
    SERIES,
    STYLES,
    apart,
    legend,
    new_figure,
    rate_text,
    rate_ticks,
    to_png,
)
from vultus.evaluation.intervals import MINIMUM_ERRORS
from vultus.evaluation.protocols.fpir_growth import Growth
from vultus.evaluation.protocols.identification import Identification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = 0.16
"""Opacity of a band."""

RAISED = str.maketrans("0123456789N", "⁰¹²³⁴⁵⁶⁷⁸⁹ᴺ")
"""For an exponent in a text."""


def identification_det(sizes: Sequence[Identification], *, title: str = "") -> bytes:
    """FNIR over FPIR on two log axes, a line a gallery size, darker the larger; the band of the largest is the 95 %
    interval of its FNIR, dots are the operating points.

    Where fewer than 10 false positives of a gallery stand behind a line it is drawn thin and pale.
    """
    figure, (axes,) = new_figure(8.8, 5.0, title)
    floor, left = 1.0, 1.0
    for index, (size, colour) in enumerate(zip(sizes, _ramp(len(sizes)), strict=True)):
        style = STYLES[(len(sizes) - 1 - index) % len(STYLES)]  # the largest is solid
        known = (size.curve_fpir > 0) & (size.curve_fnir > 0)
        fpir, fnir, band = size.curve_fpir[known], size.curve_fnir[known], size.curve_fnir_interval[known]
        least = MINIMUM_ERRORS * size.galleries / size.non_mated
        name = f"{size.people:,} enrolled"
        if not len(fpir):
            axes.plot([], [], color=colour, lw=2, ls=style, label=f"{name}: nobody missed")
            continue
        firm = fpir >= least
        if index == len(sizes) - 1:
            axes.fill_between(
                fpir[firm], np.maximum(band[firm, 0], 1e-9), band[firm, 1], color=colour, alpha=BAND, lw=0
            )
        axes.plot(fpir, fnir, color=colour, lw=1, alpha=0.35, ls=style)
        axes.plot(fpir[firm], fnir[firm], color=colour, lw=2, ls=style, label=name)
        for point in size.points:
            if point.fnir is not None and point.fpir_rate is not None and point.fnir.value > 0:
                at = point.fpir_rate.value or point.fpir
                axes.plot(at, point.fnir.value, "o", color=colour, ms=6, mec="white", mew=0.9, zorder=3)
        floor = min(floor, float(fnir[firm].min(initial=1.0)))
        left = min(left, least / 2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(max(left, 1e-8) if left < 1 else 1e-3, 1)
    axes.set_ylim(max(floor / 2, 1e-8) if floor < 1 else 1e-3, 1.15)
    axes.set_xlabel("FPIR: searches of strangers that return somebody")
    rank = sizes[-1].rank
    place = "on rank 1" if rank == 1 else f"among the first {rank}"
    axes.set_ylabel(f"FNIR: enrolled person not found {place}")
    rate_ticks(axes.xaxis)
    rate_ticks(axes.yaxis)
    legend(axes, "lower left")
    return to_png(figure)


def cmc(sizes: Sequence[Identification], *, title: str = "") -> bytes:
    """Rank-k rates over k, a line a gallery size, darker the larger; the band of the largest: its 95 % interval."""
    figure, (axes,) = new_figure(8.8, 4.4, title)
    low = 1.0
    for index, (size, colour) in enumerate(zip(sizes, _ramp(len(sizes)), strict=True)):
        style = STYLES[(len(sizes) - 1 - index) % len(STYLES)]
        ranks = np.arange(1, len(size.cmc) + 1)
        low = min(low, float(size.cmc.min()))
        if index == len(sizes) - 1:
            axes.fill_between(ranks, *size.cmc_interval.T, color=colour, alpha=BAND, lw=0)
            low = min(low, float(size.cmc_interval[0, 0]))
        name = f"{size.people:,} enrolled: {size.rank_one:.1%} on rank 1"
        axes.plot(ranks, size.cmc, color=colour, lw=2, ls=style, marker="o" if len(ranks) == 1 else None, label=name)
    most = max(2, *(len(size.cmc) for size in sizes))
    axes.set_xscale("log")
    axes.set_xlim(0.96, most)
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 50) if tick <= most]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    span = max(1 - low, 0.01)
    axes.set_ylim(1 - 1.25 * span, 1 + 0.04 * span)
    axes.set_xlabel("rank k")
    axes.set_ylabel("searches with the person among the first k")
    _percent_ticks(axes.yaxis)
    legend(axes, "lower right")
    return to_png(figure)


def fpir_by_gallery(growth: Growth, *, title: str = "") -> bytes:
    """FPIR over the number enrolled, at fixed thresholds: dots and bands measured, dashed lines 1 - (1 - FAR)^n."""
    figure, (axes,) = new_figure(8.8, 4.8, title)
    shown, ends = [series for series in growth.series if series.points], []
    # A mean over fewer than 10 positive searches says nothing, and zero is not on a log axis.
    least = MINIMUM_ERRORS / (growth.searches * growth.galleries)
    bottom = min((p.fpir for s in shown for p in s.points if p.fpir >= least), default=1e-3) / 2.5
    for index, series in enumerate(shown):
        colour = SERIES[index % len(SERIES)]
        people = np.array([point.people for point in series.points])
        fpir = np.array([point.fpir for point in series.points])
        spread = np.maximum([point.spread for point in series.points], bottom)
        firm = fpir >= least
        axes.plot(people, [point.predicted for point in series.points], color=colour, lw=1.6, ls=STYLES[1])
        if not firm.any():
            continue
        axes.fill_between(people[firm], *spread[firm].T, color=colour, alpha=BAND, lw=0)
        axes.plot(people[firm], fpir[firm], color=colour, lw=1.6, marker="o", ms=5.5, mec="white", mew=0.8)
        ends.append((people[-1], fpir[-1], f"FAR {rate_text(series.fmr)}", colour))
    for (x, _, text, colour), y in zip(
        ends, apart([log10(y) for _, y, _, _ in ends], 0.05 * -log10(bottom)), strict=True
    ):
        _label(axes, x, 10**y, text, colour)
    galleries = f"measured: mean, and band of all {growth.galleries} galleries"
    axes.plot([], [], color=INK, lw=1.6, marker="o", ms=5.5, mec="white", mew=0.8, label=galleries)
    power = f"{growth.enrol if growth.enrol > 1 else ''}N".translate(RAISED)
    axes.plot([], [], color=INK, lw=1.6, ls=STYLES[1], label=f"independent comparisons: 1 − (1 − FAR){power}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom, 1.3)
    axes.set_xlabel("people enrolled (N)")
    axes.set_ylabel("FPIR: searches of strangers that return somebody")
    rate_ticks(axes.yaxis)
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    legend(axes, "upper left")
    return to_png(figure)


def _ramp(count: int) -> list[str]:
    """Colours from light to dark, apart in greyscale too: sizes have an order, recognisers have not."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.75 * (1 - k / max(1, count - 1)))) for k in range(count)]


def _percent_ticks(axis: object) -> None:
    from matplotlib.axis import Axis
    from matplotlib.ticker import FuncFormatter

    assert isinstance(axis, Axis)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %" if value <= 1 + 1e-9 else ""))


def _label(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    style = {"fontsize": 9, "va": "center", "weight": "bold"}
    axes.annotate(text, (x, y), (7, 0), textcoords="offset points", color=colour, annotation_clip=False, **style)
