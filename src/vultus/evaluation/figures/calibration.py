"""Pictures of a calibration: thresholds by error rate, scores as evidence, and whether the evidence is what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vultus.evaluation.calibration.likelihood import Likelihood
from vultus.evaluation.calibration.record import Calibration
from vultus.evaluation.calibration.reliability import Reliability
from vultus.evaluation.figures.style import INK, MATED, MUTED, NON_MATED, RULE, legend, new_figure, rate_ticks, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHANCES = (1e-6, 1e-4, 0.01, 0.1, 0.5, 0.9, 0.99, 1 - 1e-4, 1 - 1e-6)
CHANCE_NAMES = ("1e-6", "1e-4", "1 %", "10 %", "50 %", "90 %", "99 %", "99.99 %", "1 - 1e-6")

FAR = 60.0
"""Log-odds that stand for a share of 0 or 1."""


def thresholds_by_rate(calibration: Calibration, *, title: str = "") -> bytes:
    """The threshold of each FAR, with the 95 % intervals of the FAR there: of the rate, and on other people.

    The part below the data, where there is one, is dashed.
    """
    figure, (axes,) = new_figure(8.8, 4.6, title)
    points, beyond = calibration.points, (calibration.points[-1], *calibration.extrapolated)
    every = (*points, *calibration.extrapolated)
    left = min(point.fmr for point in every) / 4
    scores = [point.threshold for point in every]
    low, high = [max(p.predicted_low, left) for p in every], [p.predicted_high for p in every]
    axes.fill_betweenx(scores, low, high, color=MATED, alpha=0.13, lw=0, label="on other people, 95 %")
    low, high = [max(p.fmr_low, left) for p in every], [p.fmr_high for p in every]
    axes.fill_betweenx(scores, low, high, color=MATED, alpha=0.33, lw=0, label="of the rate itself, 95 %")
    axes.plot([p.fmr for p in points], [p.threshold for p in points], color=MATED, lw=2)
    if calibration.extrapolated:
        style = (0, (3, 2))
        axes.plot([p.fmr for p in beyond], [p.threshold for p in beyond], color=NON_MATED, lw=2, ls=style)
        axes.axvline(calibration.floor, color=MUTED, lw=1, ls=(0, (1, 2)))
        _note(axes, calibration.floor / 1.12, "extrapolated", "right")
        _note(axes, calibration.floor * 1.12, "measured", "left")
    axes.set_xscale("log")
    rate_ticks(axes.xaxis)
    axes.set_xlim(left, 0.13)
    span = max(scores) - scores[0] or 0.1
    axes.set_ylim(scores[0] - 0.04 * span, max(scores) + 0.12 * span)
    axes.set_xlabel("false accept rate (FAR)")
    axes.set_ylabel("threshold (cosine similarity)")
    legend(axes, "lower left")
    return to_png(figure)


def evidence_curves(likelihood: Likelihood, *, title: str = "") -> bytes:
    """Score to natural log-likelihood ratio: logistic, and the isotonic staircase that follows the data."""
    figure, (axes,) = new_figure(8.8, 4.6, title)
    starts, values = np.array(likelihood.steps).T
    ends = [
        (bound - likelihood.offset) / (likelihood.slope or 1.0) for bound in (likelihood.lowest, likelihood.highest)
    ]
    left, right = max(-1.0, min(ends) - 0.08), min(1.0, max(ends) + 0.08)
    scores = np.linspace(left, right, 400)
    axes.step(
        np.append(np.maximum(starts, left), right),
        np.append(values, values[-1]),
        where="post",
        color=NON_MATED,
        lw=1.5,
        ls=(0, (4, 1.5)),
        label=f"isotonic ({len(values)} steps)",
    )
    axes.plot(scores, likelihood.llr(scores), color=MATED, lw=2.2, label="logistic")
    axes.axhline(0, color=INK, lw=0.9)
    span = likelihood.highest - likelihood.lowest
    for bound, where in ((likelihood.highest, "bottom"), (likelihood.lowest, "top")):
        axes.axhline(bound, color=MUTED, lw=1, ls=(0, (1, 2)))
        shift = 0.015 * span if bound > 0 else -0.015 * span
        at = left + 0.01 * (right - left)
        axes.text(at, bound + shift, "as far as the data can show", va=where, ha="left", fontsize=8.5, color=MUTED)
    axes.set_xlim(left, right)
    axes.set_ylim(likelihood.lowest - 0.1 * span, likelihood.highest + 0.1 * span)
    axes.set_xlabel("score (cosine similarity)")
    axes.set_ylabel("ln likelihood ratio")
    ratios = axes.secondary_yaxis("right", functions=(lambda v: v / np.log(10), lambda v: v * np.log(10)))
    decades = np.arange(np.ceil(likelihood.lowest / np.log(10)), np.floor(likelihood.highest / np.log(10)) + 1)
    ratios.set_yticks(decades, [_ratio(int(d)) for d in decades])
    ratios.tick_params(color=RULE, labelcolor=MUTED, labelsize=9)
    ratios.spines["right"].set_color(RULE)
    ratios.set_ylabel("times as likely if the same person", color=MUTED, fontsize=9.5)
    legend(axes, "lower right")
    return to_png(figure)


def reliability_diagram(found: Reliability, *, title: str = "") -> bytes:
    """Predicted against observed probabilities on log-odds axes, and where the comparisons lie. On the diagonal, a
    probability is what it says; below it, evidence for "same person" is overstated."""
    figure, (axes, counts) = new_figure(8.8, 4.3, title, columns=2)
    predicted, observed, low, high = (
        _odds(np.array(getattr(found, name))) for name in ("predicted", "observed", "low", "high")
    )
    shown = np.concatenate([predicted, observed[np.abs(observed) < FAR]])
    ends = float(shown.min()) - 1, float(shown.max()) + 1
    axes.plot(ends, ends, color=INK, lw=1, ls=(0, (4, 2)), label="what it says")
    inside = np.clip(observed, *ends)
    errors = np.clip([inside - low, high - inside], 0, None)
    axes.errorbar(predicted, inside, errors, fmt="none", ecolor=MATED, elinewidth=1.3, capsize=2.5)
    sure = np.abs(observed) < FAR
    axes.plot(predicted[sure], inside[sure], "o", color=MATED, ms=5.5, label="observed, 95 %")
    if not sure.all():
        axes.plot(predicted[~sure], inside[~sure], "o", mfc="white", mec=MATED, ms=5.5, label="only one kind seen")
    for axis in (axes.xaxis, axes.yaxis, counts.xaxis):
        ticks = [(float(_odds(np.array(c))), name) for c, name in zip(CHANCES, CHANCE_NAMES, strict=True)]
        ticks = [(at, name) for at, name in ticks if ends[0] <= at <= ends[1]]
        axis.set_ticks([at for at, _ in ticks], [name for _, name in ticks])
    axes.set_xlim(ends)
    axes.set_ylim(ends)
    axes.set_xlabel("predicted probability of the same person, even prior")
    axes.set_ylabel("observed")
    legend(axes, "upper left")
    _where(counts, predicted, found, ends)
    for panel in (axes, counts):
        panel.tick_params(axis="x", labelrotation=35)
    return to_png(figure)


def _where(axes: Axes, predicted: np.ndarray, found: Reliability, ends: tuple[float, float]) -> None:
    """Shares of the mated and of the non-mated comparisons in each bin, on a log axis."""
    width = 0.38 * float(np.diff(predicted).min()) if len(predicted) > 1 else 0.4
    least = 1.0
    for counts, colour, name, shift, hatch in (
        (found.non_mated, NON_MATED, "different people", -width / 2, "////"),
        (found.mated, MATED, "same person", width / 2, ""),
    ):
        share = np.array(counts) / max(1, sum(counts))
        axes.bar(
            predicted + shift, share, width, color=colour, alpha=0.75, lw=0, hatch=hatch, edgecolor="white", label=name
        )
        least = min(least, float(share[share > 0].min(initial=1.0)))
    axes.set_yscale("log")
    rate_ticks(axes.yaxis)
    axes.set_xlim(ends)
    axes.set_ylim(least / 2, 100)  # room for the legend
    axes.set_yticks([10.0**k for k in range(int(np.ceil(np.log10(least / 2))), 1)])
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share of the comparisons of a kind")
    legend(axes, "upper left")


def _note(axes: Any, at: float, text: str, side: str) -> None:
    place = axes.get_xaxis_transform()
    axes.text(at, 0.97, text, transform=place, ha=side, va="top", fontsize=9, color=INK)


def _odds(chance: np.ndarray) -> np.ndarray:
    """Log-odds; 0 and 1 land far outside."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(chance) - np.log1p(-chance), -FAR, FAR)


def _ratio(decade: int) -> str:
    return f"{10**decade:,}" if 0 <= decade <= 6 else f"1e{decade}" if decade > 6 else f"1 / {10**-decade:,}"
