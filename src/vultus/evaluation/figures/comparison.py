"""Dots with intervals: several ways of doing something, side by side, with what is sure about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vultus.evaluation.figures.style import INK, MATED, MUTED, NON_MATED, new_figure, to_png
from vultus.evaluation.intervals import Interval


@dataclass(frozen=True)
class DotPanel:
    """Rates in [0, 1], or differences of rates in [-1, 1], one a row; None where nothing was measured."""

    title: str
    values: Sequence[float | None]
    intervals: Sequence[Interval | None]
    single: Sequence[Sequence[float]] = ()
    """Values of each row that its mean was taken of: small marks."""
    difference: bool = False
    """Signs, a line at zero, full dots where the interval excludes it."""
    baseline: int | None = None
    """Row that the differences are to; its value is None."""
    axis: str = ""


def dots(names: Sequence[str], panels: Sequence[DotPanel], *, title: str = "", wide: int = 2) -> bytes:
    """Panels in rows of `wide`, all with the same `names` from top to bottom; axes in percent."""
    height = (0.95 + 0.36 * len(names)) * -(-len(panels) // wide) + (0.35 if title else 0)
    figure, axes = new_figure(4.9 * wide, height, title, -(-len(panels) // wide), wide)
    for number, (panel, place) in enumerate(zip(panels, axes, strict=False)):
        _draw(place, panel, len(names))
        place.set_yticks(range(len(names)), names if number % wide == 0 else [""] * len(names))
        place.tick_params(axis="y", labelsize=10, labelcolor=INK, length=0)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    return to_png(figure)


def _draw(axes: object, panel: DotPanel, rows: int) -> None:
    from matplotlib.axes import Axes
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    assert isinstance(axes, Axes)
    texts: list[tuple[float, int, str]] = []
    for row, (value, interval) in enumerate(zip(panel.values, panel.intervals, strict=True)):
        if value is None or interval is None:
            word = "baseline" if panel.difference and row == panel.baseline else "no figures"
            texts.append((0.0, row, word))
            continue
        sure = not panel.difference or not interval[0] <= 0 <= interval[1]
        colour = NON_MATED if panel.difference and value < 0 and sure else MATED if sure else MUTED
        axes.plot(interval, [row, row], color=colour, lw=2.2, solid_capstyle="butt", zorder=2)
        for seed in panel.single[row] if panel.single else ():
            axes.plot(seed, row - 0.27, color=MUTED, marker="|", ms=6, mew=1.2, zorder=2)
        axes.plot(value, row, color=colour, marker="o", ms=7, mfc=colour if sure else "white", mew=1.6, zorder=3)
        texts.append((interval[1], row, _points(value, 1) if panel.difference else f"{100 * value:.1f}"))
    if panel.difference:
        axes.axvline(0, color=INK, lw=1, zorder=1)
    ends = [end for interval in panel.intervals if interval for end in interval] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    if panel.difference:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 0.1
    axes.set_xlim(low - 0.05 * span, high + 0.2 * span)
    for at, row, text in texts:
        plain = text[-1].isdigit()
        axes.text(
            at + 0.025 * span,
            row,
            text,
            va="center",
            fontsize=9.5,
            color=INK if plain else MUTED,
            style="normal" if plain else "italic",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
    axes.set_ylim(rows - 0.45, -0.65)  # the first one on top
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _points(x) if panel.difference else f"{100 * x:.4g} %"))
    axes.set_xlabel(panel.axis)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_title(panel.title, fontsize=10, color=INK, loc="left")


def _points(value: float, digits: int | None = None) -> str:
    """A difference of rates in percentage points, with its sign."""
    text = f"{100 * abs(value):.4g}" if digits is None else f"{100 * abs(value):.{digits}f}"
    sign = "" if float(text) == 0 else "+" if value > 0 else "−"
    return sign + text
