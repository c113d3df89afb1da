"""Pictures of groups: rates with their intervals, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vultus.evaluation.breakdown.cell import Cell
from vultus.evaluation.breakdown.groups import GroupRates
from vultus.evaluation.figures.style import (
    INK,
    MATED,
    MUTED,
    NON_MATED,
    RULE,
    new_figure,
    rate_text,
    rate_ticks,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADES = ("#ffffff", "#dfe8f0", "#b3c8da", "#5f87a8", "#1f4e72")
"""Light to dark: the order survives greyscale. The middle one is the rate of all; each step is a factor of two."""


def group_dots(rates: GroupRates, *, title: str = "") -> bytes:
    """FAR and 1 - TAR of each group, side by side on log axes, with 95 % intervals; a line marks the rate of all."""
    rows = len(rates.names)
    figure, panels = new_figure(8.8, 1.5 + 0.36 * rows, title, columns=2)
    own = [[matrix[k][k] for k in range(rows)] for matrix in (rates.fmr, rates.fnmr)]
    _dots(panels[0], own[0], rates.all_fmr, "FAR: two people of the group match", NON_MATED, "D")
    _dots(panels[1], own[1], rates.all_fnmr, "1 - TAR: a person of the group is not recognised", MATED, "o")
    panels[0].set_yticks(range(rows), [_short(name) for name in rates.names])
    panels[1].set_yticks(range(rows), [""] * rows)
    return to_png(figure)


def _dots(axes: Axes, cells: Sequence[Cell], everyone: Cell, label: str, colour: str, marker: str) -> None:
    """One row a group; hollow and grey where the rate is withheld."""
    told = [cell for cell in cells if cell.value is not None]
    ends = [end for cell in [*told, everyone] for end in (*cell.rate.interval, cell.rate.value)]
    floor, top = 0.5 * min((end for end in ends if end > 0), default=1e-6), min(1.0, 2.5 * max(ends))
    for row, cell in enumerate(cells):
        if not cell.rate.trials:
            axes.text(0.02, row, "no comparison", transform=axes.get_yaxis_transform(), **_QUIET)
            continue
        low, high = (max(floor, end) for end in cell.rate.interval)
        if cell.value is None:
            axes.plot([low, high], [row, row], color=MUTED, lw=1, ls=(0, (1, 1.5)))
            axes.text(1.02, row, "too few", transform=axes.get_yaxis_transform(), **_QUIET)
            continue
        axes.plot([low, high], [row, row], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot(max(floor, cell.value), row, marker, ms=6.5, color=colour, mec="white", clip_on=False, zorder=3)
    axes.axvline(max(floor, everyone.rate.value), color=INK, lw=1.1, ls=(0, (4, 2)), zorder=1)
    axes.text(max(floor, everyone.rate.value), -0.78, "all", color=INK, fontsize=9, ha="center", va="bottom")
    axes.set_xscale("log")
    axes.set_xlim(floor, top)
    axes.set_ylim(len(cells) - 0.4, -0.8)
    axes.set_xlabel(label)
    axes.tick_params(axis="y", labelsize=10, labelcolor=INK, length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    rate_ticks(axes.xaxis)
    if top < 40 * floor:  # fewer than two powers of ten would leave one tick
        from matplotlib.ticker import LogLocator

        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=20))


def group_matrix(rates: GroupRates, *, title: str = "") -> bytes:
    """FAR of pairs of people, one of the row's group and one of the column's; darker is more often taken for another.

    In each cell the rate with its interval, hatched where it is withheld; of more than 8 groups only the rate, in units
    that the axis names.
    """
    names, n = rates.names, len(rates.names)
    side = max(0.5, 1.28 - 0.055 * n)
    width = min(11.0, max(6.0, 2.0 + side * n * 1.12))
    figure, (axes,) = new_figure(width, 1.3 + side * n * 0.72, title)
    detail = n <= 8
    unit = 10.0 ** np.floor(np.log10(rates.all_fmr.rate.value)) if rates.all_fmr.rate.errors else 1.0
    for a in range(n):
        for b in range(a + 1):  # the matrix is symmetric: once is enough
            cell = rates.fmr[a][b]
            shade = _shade(cell.value, rates.all_fmr.rate.value)
            fill = "white" if shade is None else SHADES[shade]
            edge = INK if a == b else "white"
            inset = 0.03 if a == b else 0.0
            corner = (b - 0.5 + inset, a - 0.5 + inset)
            _box(axes, corner, 1 - 2 * inset, fill, edge, hatched=shade is None)
            ink = "white" if shade is not None and shade >= 3 else INK
            _words(axes, b, a, cell, ink, None if detail else unit)
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_xticks(range(n), [_short(name) for name in names])
    axes.set_yticks(range(n), [_short(name) for name in names])
    axes.tick_params(axis="both", labelsize=10, labelcolor=INK, length=0)
    if not detail:
        axes.set_xlabel(f"FAR in units of {rate_text(unit)}")
    if n > 6 and max(map(len, names)) > 4:
        axes.tick_params(axis="x", labelrotation=35)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return to_png(figure)


def _box(axes: Axes, corner: tuple[float, float], side: float, fill: str, edge: str, *, hatched: bool) -> None:
    from matplotlib.patches import Rectangle

    if hatched:
        axes.add_patch(Rectangle(corner, side, side, facecolor="white", edgecolor=RULE, hatch="////", lw=0))
    axes.add_patch(
        Rectangle(corner, side, side, facecolor="none" if hatched else fill, edgecolor=edge, lw=1.6, zorder=2)
    )


def _words(axes: Axes, x: float, y: float, cell: Cell, ink: str, unit: float | None) -> None:
    """The rate and its interval; with a `unit` only the rate, in it."""
    words = {"ha": "center", "va": "center", "zorder": 3}
    if cell.value is None:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        axes.text(x, y, "too few" if unit is None else "–", fontsize=8.5, color=MUTED, bbox=box, **words)
    elif unit is None:
        low, high = cell.rate.interval
        axes.text(x, y - 0.12, share(cell.value), fontsize=11.5, color=ink, **words)
        axes.text(x, y + 0.2, f"{share(low)} – {share(high)}", fontsize=7.5, color=ink, **words)
    else:
        axes.text(x, y, two_digits(cell.value / unit), fontsize=8.5, color=ink, **words)


def _shade(value: float | None, everyone: float) -> int | None:
    """Index of the shade of a rate beside the rate of all; None where it is withheld.

    Fixed steps, so that differences which mean little do not look like much: up to 0.35, 0.7, 1.4, 2.8 times, more.
    """
    if value is None:
        return None
    if value == 0 or everyone == 0:
        return 0
    return int(np.clip(2 + round(float(np.log2(value / everyone))), 0, len(SHADES) - 1))


def share(rate: float) -> str:
    """A small rate in percent with two significant digits: 0.11%, 0.0029%."""
    return f"{two_digits(100 * rate)}%"


def two_digits(value: float) -> str:
    """0.098, 0.10, 1.2, 34: two significant digits, not in powers of ten."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:.{max(0, 1 - int(np.floor(np.log10(rounded))))}f}" if rounded > 0 else "0"


def _short(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"


_QUIET = {"va": "center", "color": MUTED, "fontsize": 8.5, "style": "italic"}
