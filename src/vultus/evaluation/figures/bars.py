"""Rates side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.evaluation.figures.style import INK, MATED, MUTED, NON_MATED, legend, new_figure, to_png
from vultus.evaluation.intervals import Interval


def bars(
    names: Sequence[str],
    values: Sequence[float | None],
    intervals: Sequence[Interval | None] | None = None,
    *,
    axis: str = "TAR",
    goal: float | None = None,
    title: str = "",
) -> bytes:
    """Rates in [0, 1] side by side, with 95 % intervals as whiskers; the first one stands out. None: withheld."""
    figure, (axes,) = new_figure(8.8, 0.9 + 0.52 * len(names), title)
    intervals = intervals or [None] * len(names)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    for row, (value, interval) in enumerate(zip(values, intervals, strict=True)):
        if value is None:
            axes.text(0.01, row, "not enough pairs", va="center", color=MUTED, fontsize=9.5, style="italic")
            continue
        axes.barh(row, value, height=0.62, color=MATED if row == 0 else "#9aa5b1", lw=0)
        end = value
        if interval:
            axes.plot(interval, [row, row], color=INK, lw=1.6, solid_capstyle="butt")
            axes.plot(interval, [row, row], color=INK, lw=0, marker="|", ms=9, mew=1.6)
            end = max(value, interval[1])
        text = f"{value:.1%}" + (f"   ({interval[0]:.1%} to {interval[1]:.1%})" if interval else "")
        axes.text(end + 0.015, row, text, va="center", color=INK, fontsize=9.5, bbox=box)
    if goal is not None:
        axes.axvline(goal, color=NON_MATED, lw=1.4, ls=(0, (4, 2)), zorder=0.9, label=f"wanted: {goal:.0%}")
        legend(axes, "lower right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelsize=10, labelcolor=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first one on top
    axes.set_xlim(0, 1.45)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{tick:.0%}" for tick in np.linspace(0, 1, 6)])
    axes.set_xlabel(axis)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    return to_png(figure)
