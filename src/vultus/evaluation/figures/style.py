"""How every picture looks: colours that the colour-blind and greyscale print tell apart, quiet axes, PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MATED, NON_MATED = "#0072B2", "#D55E00"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's colours, which stay apart for the usual kinds of colour blindness."""
STYLES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1)), (0, (3, 3)), "-")
INK, MUTED, RULE = "#1d232b", "#5b6470", "#d9dde3"
DPI = 160


def new_figure(width: float, height: float, title: str, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of its own (no pyplot) and its panels, styled."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue]
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels:
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(RULE)
        axes.grid(True, color=RULE, lw=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", color=RULE, labelcolor=MUTED, labelsize=9)
        axes.xaxis.label.set(color=MUTED, fontsize=9.5)
        axes.yaxis.label.set(color=MUTED, fontsize=9.5)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, weight="bold")
    return figure, panels


def legend(axes: Axes, where: Literal["upper left", "lower left", "lower right"]) -> None:
    drawn = axes.legend(loc=where, fontsize=9, frameon=True, edgecolor="none", facecolor="white", framealpha=0.85)
    for text in drawn.get_texts():
        text.set_color(INK)


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Where captions stand that belong at `places`, so that no two are nearer than `gap`; in the order given."""
    order = sorted(range(len(places)), key=lambda k: places[k])
    groups: list[list[int]] = []
    center = lambda group: sum(places[k] for k in group) / len(group)  # noqa: E731
    for k in order:
        groups.append([k])
        while (
            len(groups) > 1 and center(groups[-1]) - center(groups[-2]) < gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            last = groups.pop()
            groups[-1] += last
    found = [0.0] * len(places)
    for group in groups:
        for place, k in enumerate(group):
            found[k] = center(group) + gap * (place - (len(group) - 1) / 2)
    return found


def rate_ticks(axis: Any) -> None:
    """Powers of ten in words people read: 10 %, 1 %, 0.1 %, then 1e-4."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: rate_text(value)))
    axis.set_minor_formatter(NullFormatter())


def rate_text(value: float) -> str:
    """0.1, 0.01, 0.001, then 1e-4, 1e-5."""
    return f"{value:.3g}" if value >= 0.001 else f"{value:.0e}".replace("e-0", "e-")


def to_png(figure: Figure) -> bytes:
    """PNG bytes. Names come from the data, so a "$" in a text is a "$" and no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_text():  # ticks that matplotlib is yet to name write powers as formulas
            text.set_parse_math(False)
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return memory.getvalue()
