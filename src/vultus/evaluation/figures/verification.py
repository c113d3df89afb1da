"""Pictures of 1:1 verification: score histograms, ROC, DET."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vultus.evaluation.figures.style import (
    INK,
    MATED,
    NON_MATED,
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
from vultus.evaluation.protocols.verification import Verification

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    thresholds = [p.threshold for p in wanted if p.threshold is not None]
    captions = apart(thresholds, 0.024 * (edges[-1] - edges[0]))
    for point, threshold, caption in zip(wanted, thresholds, captions, strict=True):
        axes.axvline(threshold, color=INK, lw=1, ls=(0, (4, 2)), ymax=0.78)
        text = f"FAR {rate_text(point.far)}"
        at = axes.get_xaxis_transform()
        axes.text(caption, 0.79, text, transform=at, rotation=90, ha="center", va="bottom", fontsize=8.5, color=INK)
    axes.set_xlabel("score (cosine similarity)")
    axes.set_ylabel("share of pairs in a bin" + (", log scale" if log else ""))
    axes.set_xlim(edges[0], edges[-1])
    legend(axes, "upper left")
    return to_png(figure)


def roc(verifications: Verification | Mapping[str, Verification], *, title: str = "") -> bytes:
    """TAR over FAR on a log axis; several recognisers by name. Dots: operating points with their 95 % intervals; the
    band (for up to three recognisers): 95 % intervals of TAR at each threshold.

    Where fewer than 10 false matches stand behind a curve it is drawn thin and pale: no figure should be read there.
    """
    figure, (axes,) = new_figure(8.8, 4.8, title)
    lowest = _curves(axes, verifications, complement=False)
    axes.set_xlim(lowest, 1)
    firm = [v.curve_tar[v.curve_far * v.non_mated >= MINIMUM_ERRORS] for v in _named(verifications).values()]
    worst = min(float(tar.min(initial=1)) for tar in firm)
    axes.set_ylim(0 if worst < 0.5 else np.floor(worst * 10 - 0.3) / 10, 1.01)
    axes.set_ylabel("TAR: same person accepted")
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return to_png(figure)


def det(verifications: Verification | Mapping[str, Verification], *, title: str = "") -> bytes:
    """1 - TAR over FAR on two log axes (down and to the left is better); drawn like `roc`."""
    figure, (axes,) = new_figure(8.8, 4.8, title)
    lowest = _curves(axes, verifications, complement=True)
    axes.set_yscale("log")
    axes.set_xlim(lowest, 1)
    mated = max(10, *(v.mated for v in _named(verifications).values()))
    axes.set_ylim(10 ** np.floor(np.log10(1 / mated)), 1.15)
    axes.set_ylabel("1 - TAR: same person rejected")
    rate_ticks(axes.yaxis)
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
        low, high = v.curve_tar_interval[known].T
        if complement:
            low, high = 1 - high, 1 - low
        some = (rate > 0) & (rate < 1)  # without errors the interval is that of the worst case: no part of a band
        if len(named) <= 3:  # more bands than that hide one another
            axes.fill_between(far, np.maximum(low, 1e-9), high, where=some, color=colour, alpha=0.16, lw=0)
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
    rate_ticks(axes.xaxis)
    if any(named):  # above the panel, where it hides no curve
        handles = axes.get_legend_handles_labels()
        axes.figure.legend(*handles, loc="outside upper left", fontsize=9, frameon=False, ncols=2)
    most = max(10, *(v.non_mated for v in named.values()))
    return float(10 ** np.floor(np.log10(1 / most)))


def _named(verifications: Verification | Mapping[str, Verification]) -> Mapping[str, Verification]:
    return {"": verifications} if isinstance(verifications, Verification) else verifications
