"""Pictures of quality: error-versus-discard curves, and 1 - TAR by pose, size and sharpness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vultus.evaluation.breakdown.conditions import Bin, Breakdown
from vultus.evaluation.breakdown.discard import Discard
from vultus.evaluation.figures.style import INK, MATED, MUTED, SERIES, STYLES, apart, new_figure, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def edc_curves(discards: Sequence[Discard], *, upto: float = 0.3, title: str = "") -> bytes:
    """1 - TAR of what is kept over the share that is discarded, one line a quality score; FAR below, at the same cut.

    The best score comes first and has its 95 % interval as a band. Beside them what discarding at random (flat) and
    discarding the errors first (dotted) would give.
    """
    has_fmr = all(d.fmr for d in discards)
    figure, panels = new_figure(8.8, 6.6 if has_fmr else 4.6, title, rows=2 if has_fmr else 1)
    axes = panels[0]
    ranked = sorted(discards, key=lambda d: -(d.areas[-1].gain or 0))
    best = ranked[0]
    count = int((best.allowed <= upto + 1e-9).sum())
    x, start = best.allowed[:count], best.fnmr[0].value
    low, high = np.array([rate.interval for rate in best.fnmr[:count]]).T
    axes.fill_between(x, low, high, step="post", color=SERIES[0], alpha=0.14, lw=0)
    axes.plot([0, upto], [start, start], color=MUTED, lw=1.1, ls=(0, (6, 3)))
    axes.step(x, best.ideal[:count], where="post", color=MUTED, lw=1.1, ls=(0, (1, 1.5)))
    for k, one in enumerate(ranked):
        gain = one.areas[-1].gain
        label = one.name if gain is None else f"{one.name}, gain {gain:.0%}"
        for panel, rates in zip(panels, (one.fnmr, one.fmr), strict=False):
            values = [rate.value for rate in rates[:count]]
            style = STYLES[k % len(STYLES)]
            panel.step(x, values, where="post", label=label, color=SERIES[k % len(SERIES)], ls=style, lw=1.9)
    lines = [rate.value for one in ranked for rate in one.fnmr[:count]]
    axes.set_ylim(0, max(1.15 * max(lines), min(float(high.max()), 2 * max(lines))) or 0.01)
    heights = apart([start, float(best.ideal[count - 1])], 0.08 * axes.get_ylim()[1])
    for height, text in zip(heights, ("at random", "ideal"), strict=True):
        axes.text(upto, height, f"  {text}", color=MUTED, fontsize=9, va="center")
    axes.set_ylabel("1 - TAR of what is kept")
    if has_fmr:
        panels[1].set_ylim(0, 1.6 * max(rate.value for one in ranked for rate in one.fmr[:count]) or 0.001)
        panels[1].set_ylabel("FAR of what is kept")
    for panel in panels:
        _frame(panel, upto)
    panels[-1].set_xlabel("comparisons discarded, the worst pictures first")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", fontsize=9, frameon=False, ncols=3)
    return to_png(figure)


def _frame(axes: Axes, upto: float) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.set_xlim(0, upto * 1.12)
    axes.set_xticks(np.linspace(0, upto, 7))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=2 if axes.get_ylim()[1] < 0.05 else 0))


def condition_dots(breakdowns: Sequence[Breakdown], *, title: str = "") -> bytes:
    """1 - TAR in bins of each condition, the hardest on the left, with 95 % intervals; a line marks the rate of all."""
    from matplotlib.ticker import PercentFormatter

    columns = 2 if len(breakdowns) > 1 else 1
    rows = -(-len(breakdowns) // columns)
    figure, panels = new_figure(8.8, 0.5 + 2.55 * rows, title, rows=rows, columns=columns)
    tops = [_end(b) for one in breakdowns for b in one.bins]
    top = min(1.0, 1.12 * max(tops, default=1.0)) or 0.01
    for axes, one in zip(panels, breakdowns, strict=False):
        errors, trials = (sum(getattr(b.fnmr.rate, what) for b in one.bins) for what in ("errors", "trials"))
        axes.axhline(errors / trials if trials else 0, color=INK, lw=1, ls=(0, (4, 2)), zorder=1)
        for at, part in enumerate(one.bins):
            _bin(axes, at, part, top)
        axes.set_title(one.title, loc="left", fontsize=10, color=INK)
        axes.set_xticks(range(len(one.bins)), bin_names(one.bins))
        axes.tick_params(axis="x", labelsize=8.5, labelcolor=INK, length=0)
        axes.set_xlim(-0.5, len(one.bins) - 0.5)
        axes.set_ylim(0, top)
        axes.set_xlabel(f"{one.unit or 'score'}, hardest on the left")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(False, axis="x")
    for axes in panels[::columns]:
        axes.set_ylabel("1 - TAR")
    for axes in panels[len(breakdowns) :]:
        axes.set_visible(False)
    return to_png(figure)


def _bin(axes: Axes, at: int, part: Bin, top: float) -> None:
    low, high = part.fnmr.rate.interval
    told = part.fnmr.value is not None
    axes.plot([at, at], [low, min(high, 2 * top)], color=MATED if told else MUTED, lw=2 if told else 1)
    if told:
        axes.plot(at, part.fnmr.rate.value, "o", ms=7, color=MATED, mec="white", zorder=3)
    else:
        text = "too few"
        axes.text(at, 0.97 * top, text, rotation=90, ha="right", va="top", color=MUTED, fontsize=8.5, style="italic")


def _end(part: Bin) -> float:
    """How high a bin needs the axis to be."""
    return part.fnmr.rate.interval[1] if part.fnmr.value is not None else part.fnmr.rate.value


def bin_names(bins: Sequence[Bin], between: str = "\nto ") -> list[str]:
    """The ends of each bin with as few digits as tell them apart."""
    ends = sorted({end for part in bins for end in (part.low, part.high)})
    for digits in range(2, 7):
        texts = [f"{end:.0f}" if abs(end) >= 10 ** (digits - 1) else f"{end:.{digits}g}" for end in ends]
        if len(set(texts)) == len(ends):
            break
    named = dict(zip(ends, texts, strict=True))
    return [
        named[part.low] if part.low == part.high else f"{named[part.low]}{between}{named[part.high]}" for part in bins
    ]
