"""Pictures of evidence: PNG bytes, drawn without matplotlib's global state, in colours that the colour-blind can tell.

Each function returns the bytes of one PNG on a white ground (about 1400 pixels wide).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vultus.evaluation.intervals import MINIMUM_ERRORS
from vultus.evaluation.verification import Interval, Verification

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MATED, NON_MATED = "#0072B2", "#D55E00"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's colours, which stay apart for the usual kinds of colour blindness."""
STYLES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1)), (0, (3, 3)), "-")
INK, MUTED, RULE = "#1d232b", "#5b6470", "#d9dde3"
DPI = 160


def score_histogram(
    verification: Verification, fars: Sequence[float] | None = None, *, log: bool = False, title: str = ""
) -> bytes:
    """Scores of mated and of non-mated pairs, each as a share of its own pairs, with the threshold of each FAR.

    `fars`: which operating points of the verification get a line (the measured ones by default); `log`: the shares on
    a log axis, which shows the tails where thresholds live.
    """
    figure, (axes,) = new_figure(8.8, 4.0, title)
    v = verification
    merge = 4 if v.mated < 2_000 else 2 if v.mated < 20_000 else 1  # few pairs in fine bins are only noise
    starts = np.arange(0, len(v.histogram_mated), merge)
    edges = np.append(v.histogram_edges[starts], v.histogram_edges[-1])
    top = 0.0
    for counts, colour, name, total in (
        (v.histogram_non_mated, NON_MATED, "different people", v.non_mated),
        (v.histogram_mated, MATED, "same person", v.mated),
    ):
        share = np.add.reduceat(counts, starts) / total
        top = max(top, float(share.max()))
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.28, lw=0)
        axes.stairs(share, edges, color=colour, lw=1.5, label=f"{name}: {total:,} pairs")
    if log:
        axes.set_yscale("log")
        floor = 0.5 / max(v.non_mated, v.mated)
        axes.set_ylim(floor, top * (top / floor) ** 0.35)
    else:
        axes.set_ylim(0, top * 1.38)
    wanted = [p for p in v.points if p.threshold is not None and (fars is None or p.far in fars)]
    last = -np.inf
    gap = 0.022 * (edges[-1] - edges[0])
    for point in sorted(wanted, key=lambda p: p.threshold or 0):
        assert point.threshold is not None
        axes.axvline(point.threshold, color=INK, lw=1, ls=(0, (4, 2)), ymax=0.8)
        last = max(point.threshold, last + gap)
        text = f"FAR {rate_text(point.far)}"
        at = axes.get_xaxis_transform()
        axes.text(last, 0.815, text, transform=at, rotation=90, ha="center", va="bottom", fontsize=8.5, color=INK)
    axes.set_xlabel("score (cosine similarity)")
    axes.set_ylabel("share of pairs in a bin" + (", log scale" if log else ""))
    axes.set_xlim(edges[0], edges[-1])
    _legend(axes, "upper left")
    return to_png(figure)


def roc(verifications: Verification | Mapping[str, Verification], *, title: str = "") -> bytes:
    """TAR over FAR on a log axis; several recognisers by name. Dots: operating points with their 95 % intervals.

    Where fewer than 10 false matches stand behind a curve it is drawn thin and pale: no figure should be read there.
    """
    figure, (axes,) = new_figure(8.8, 4.8, title)
    lowest = _curves(axes, verifications, complement=False)
    axes.set_xlim(lowest, 1)
    worst = min(float(v.curve_tar[v.curve_far > 0].min(initial=1)) for v in _named(verifications).values())
    axes.set_ylim(0 if worst < 0.5 else np.floor(worst * 10 - 0.3) / 10, 1.01)
    axes.set_ylabel("TAR: same person accepted")
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return to_png(figure)


def det(verifications: Verification | Mapping[str, Verification], *, title: str = "") -> bytes:
    """FNMR over FAR on two log axes (down and to the left is better); drawn like `roc`."""
    figure, (axes,) = new_figure(8.8, 4.8, title)
    lowest = _curves(axes, verifications, complement=True)
    axes.set_yscale("log")
    axes.set_xlim(lowest, 1)
    mated = max(10, *(v.mated for v in _named(verifications).values()))
    axes.set_ylim(10 ** np.floor(np.log10(1 / mated)), 1.15)
    axes.set_ylabel("FNMR: same person rejected")
    _rate_ticks(axes.yaxis)
    return to_png(figure)


def training_curves(
    columns: Mapping[str, Sequence[float] | np.ndarray], *, x: str = "step", only: Sequence[str] = (), title: str = ""
) -> bytes:
    """One panel for each column of a run's `metrics.csv` over column `x`; NaN (an empty cell) is skipped.

    A column with more than 60 values is drawn pale with its running mean on top. `only` chooses and orders columns.
    """
    names = [name for name in (only or columns) if name != x and np.isfinite(_numbers(columns[name])).any()]
    steps = _numbers(columns[x])
    wide = min(3, max(1, len(names)))
    rows = max(1, -(-len(names) // wide))
    figure, panels = new_figure(4.4 * wide if wide > 1 else 8.8, 2.9 * rows, title, rows, wide)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for index, (name, panel) in enumerate(zip(names, panels, strict=False)):
        values = _numbers(columns[name])
        known = np.isfinite(values) & np.isfinite(steps)
        at, values, colour = steps[known], values[known], SERIES[index % len(SERIES)]
        if len(values) > 60:
            width = len(values) // 20
            smooth = np.convolve(values, np.ones(width) / width, mode="valid")
            panel.plot(at, values, color=colour, alpha=0.22, lw=0.8)
            panel.plot(at[width // 2 : width // 2 + len(smooth)], smooth, color=colour, lw=1.8)
        else:
            panel.plot(at, values, color=colour, lw=1.8, marker="o", ms=4 if len(values) < 25 else 0)
        panel.set_title(name.replace("_", " "), fontsize=10, color=INK, loc="left")
        panel.set_xlabel(x)
    return to_png(figure)


def read_metrics(path: Any) -> dict[str, np.ndarray]:
    """Columns of a CSV with a header as float64 arrays; an empty or non-numeric cell is NaN."""
    import csv

    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    def number(cell: str | None) -> float:
        try:
            return float(cell or "nan")
        except ValueError:
            return np.nan

    names = list(rows[0]) if rows else []
    return {name: np.array([number(row[name]) for row in rows]) for name in names}


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
        _legend(axes, "lower right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelsize=10, labelcolor=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first one on top
    axes.set_xlim(0, 1.45)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{tick:.0%}" for tick in np.linspace(0, 1, 6)])
    axes.set_xlabel(axis)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    return to_png(figure)


def _curves(axes: Axes, verifications: Verification | Mapping[str, Verification], *, complement: bool) -> float:
    """Draw each recogniser's curve and operating points; returns the left end of the FAR axis."""
    named = _named(verifications)
    for index, (name, v) in enumerate(named.items()):
        colour, style = SERIES[index % len(SERIES)], STYLES[index % len(STYLES)]
        rate = 1 - v.curve_tar if complement else v.curve_tar
        known = (v.curve_far > 0) & (rate > 0)
        far, rate = v.curve_far[known], rate[known]
        firm = far * v.non_mated >= MINIMUM_ERRORS
        label = f"{name}   EER {v.eer:.2%}" if name else None
        axes.plot(far, rate, color=colour, lw=1, alpha=0.4, ls=style)
        axes.plot(far[firm], rate[firm], color=colour, lw=2, ls=style, label=label)
        for point in v.points:
            if point.tar is None or point.tar_interval is None:
                continue
            low, high = point.tar_interval
            y = 1 - point.tar if complement else point.tar
            low, high = (1 - high, 1 - low) if complement else (low, high)
            if complement and y <= 0:
                continue
            whisker = [[y - low], [high - y]]
            axes.errorbar(point.far, y, yerr=whisker, color=colour, fmt="o", ms=5, capsize=3, lw=1.4, mec="white")
    axes.set_xscale("log")
    axes.set_xlabel("FAR: different people accepted")
    _rate_ticks(axes.xaxis)
    if any(named):
        _legend(axes, "lower left" if complement else "lower right")
    most = max(10, *(v.non_mated for v in named.values()))
    return float(10 ** np.floor(np.log10(1 / most)))


def _named(verifications: Verification | Mapping[str, Verification]) -> Mapping[str, Verification]:
    return {"": verifications} if isinstance(verifications, Verification) else verifications


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


def _legend(axes: Axes, where: Literal["upper left", "lower left", "lower right"]) -> None:
    legend = axes.legend(loc=where, fontsize=9, frameon=True, edgecolor="none", facecolor="white", framealpha=0.85)
    for text in legend.get_texts():
        text.set_color(INK)


def _rate_ticks(axis: Any) -> None:
    """Powers of ten in words people read: 10 %, 1 %, 0.1 %, then 1e-4."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: rate_text(value)))
    axis.set_minor_formatter(NullFormatter())


def rate_text(value: float) -> str:
    """0.1, 0.01, 0.001, then 1e-4, 1e-5."""
    return f"{value:.3g}" if value >= 0.001 else f"{value:.0e}".replace("e-0", "e-")


def _numbers(values: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def to_png(figure: Figure) -> bytes:
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return memory.getvalue()
